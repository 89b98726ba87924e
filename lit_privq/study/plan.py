"""A study expanded into jobs, each a command line that a person could type."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lit_privq.artifacts.trust import packages
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.study.study_file import MethodRow, Study, read_tree

Stage = Literal["train", "quantize", "query", "audit", "report"]
STAGES: tuple[Stage, ...] = ("train", "quantize", "query", "audit", "report")
FULL = FULL_PRECISION.name
_OUTPUT = "<output>"  # stands for the study's folder, so that a moved study is still the same study


@dataclass(frozen=True)
class Job:
    """One command of a study.

    Args:
        name: of the job and its log.
        stage: what it does.
        argv: command line behind ``python -m lit_privq``.
        inputs: files it reads that other jobs write, relative to the study's folder.
        outputs: files it writes, relative to the study's folder.
        recipe: digest of the command and of all configs it points at, wherever the study, its configs and its data lie.
        needs: names of the jobs that write the inputs.
        models: indices of the models it works on; empty for the audit and the report.
    """

    name: str
    stage: Stage
    argv: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    recipe: str
    needs: tuple[str, ...] = ()
    models: range = range(0)


@dataclass(frozen=True)
class Fleets:
    """How models are dealt out.

    Args:
        size: most models in one job.
        jobs: workers to keep busy.
    """

    size: int
    jobs: int

    def deal(self, models: range) -> list[range]:
        """Contiguous shares of nearly equal size, enough of them to keep every worker busy.

        >>> Fleets(size=10, jobs=2).deal(range(20))
        [range(0, 10), range(10, 20)]
        >>> [len(share) for share in Fleets(size=10, jobs=3).deal(range(20))]
        [6, 7, 7]
        """
        rounds = math.ceil(len(models) / (self.size * self.jobs))
        n = min(len(models), rounds * self.jobs)
        edges = [len(models) * i // n for i in range(n + 1)]
        return [models[start:stop] for start, stop in itertools.pairwise(edges)]


def plan(study: Study, root: Path, fleets: Fleets, data_root: Path | None = None) -> list[Job]:
    """Every job of a study, in an order that respects what each needs.

    Args:
        study: what `read_study` returned.
        root: the study's folder.
        fleets: how the models are dealt out.
        data_root: where the data sets lie; as the data config says where None.

    Raises:
        FileNotFoundError: if a config points at one that does not exist.
    """
    planner = _Planner(study, root, fleets, data_root)
    jobs = [*planner.train(), *planner.quantize(), *planner.query()]
    dumps = [path for job in jobs if job.stage == "query" for path in job.outputs]
    jobs += [planner.audit(tuple(dumps)), planner.report()]
    makers = {path: job.name for job in jobs for path in job.outputs}
    return [replace(job, needs=tuple(dict.fromkeys(makers[path] for path in job.inputs))) for job in jobs]


def shared_options(study: Study) -> list[str]:
    """Options of every Lightning job: the split and the seed, where the study gives them."""
    seeds = {"--data.split_seed": study.split_seed, "--seed_everything": study.seed}
    options = {"--data.n_shadows": study.n_shadows, "--data.n_targets": study.n_targets, **seeds}
    return [text for key, value in options.items() if value is not None for text in (key, str(value))]


def config_tree(path: Path) -> dict[str, Any]:
    """A config with every config it points at put in its place."""
    tree = _expand(read_tree(path), path)
    assert isinstance(tree, dict)
    return tree


def _expand(node: Any, path: Path) -> Any:  # noqa: ANN401 - a YAML tree
    if isinstance(node, dict):
        return {key: _expand(value, path) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value, path) for value in node]
    if not isinstance(node, str) or not node.endswith((".yaml", ".yml")):
        return node
    file = Path(os.path.normpath(path.parent / node))
    if not file.is_file():
        raise FileNotFoundError(f"{path} names {node}, but there is no {file}; correct the path")
    return config_tree(file)


def _files(folder: str, variant: str, models: range, suffix: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{variant}/{index:03d}.{suffix}" for index in models)


def _span(models: range) -> str:
    return f"{models[0]:03d}-{models[-1]:03d}"


class _Planner:
    """Writes the jobs of each stage."""

    def __init__(self, study: Study, root: Path, fleets: Fleets, data_root: Path | None) -> None:
        self.study, self.root, self.fleets = study, root, fleets
        self.data = ("--data.root", str(data_root)) if data_root else ()
        self.tree = functools.cache(lambda config: config_tree(Path(config)))
        # The user's recipe names its own network and data set; the checkpoints of this study may name them too.
        named = packages(self.tree(study.shadow)) + study.trust
        self.trust = ("--trust", *sorted(set(named))) if named else ()

    def train(self) -> Iterator[Job]:
        for models in self.fleets.deal(range(self.study.n_models)):
            yield self._lightning(
                ("fit", "--config", self.study.shadow, *_index(models)),
                name=f"train-{_span(models)}",
                stage="train",
                inputs=(),
                outputs=_files("checkpoints", FULL, models, "ckpt"),
                models=models,
            )

    def quantize(self) -> Iterator[Job]:
        for row in self.study.quantize:
            method = (
                "fit",
                "--config",
                row.method,
                "--model.name",
                row.name,
                *_checkpoint("--model.checkpoint", FULL),
                *self.trust,
            )
            bits = "+".join(variant.name.removeprefix(f"{row.name}-") for variant in row.variants)
            for models in self.fleets.deal(self._models(row)):
                yield self._lightning(
                    (*method, *_index(models), "--model.bits", _numbers(row)),
                    name=f"quantize-{row.name}-{bits}-{_span(models)}",
                    stage="quantize",
                    inputs=_files("checkpoints", FULL, models, "ckpt"),
                    outputs=tuple(p for v in row.variants for p in _files("checkpoints", v.name, models, "ckpt")),
                    models=models,
                )

    def query(self) -> Iterator[Job]:
        everyone = range(self.study.n_models)
        variants = {FULL: everyone, **{v.name: self._models(row) for row in self.study.quantize for v in row.variants}}
        for variant, models_of_variant in variants.items():
            for models in self.fleets.deal(models_of_variant):
                yield self._lightning(
                    (
                        "predict",
                        "--config",
                        self.study.query,
                        *_checkpoint("--ckpt_path", variant),
                        *self.trust,
                        *_index(models),
                    ),
                    name=f"query-{variant}-{_span(models)}",
                    stage="query",
                    inputs=_files("checkpoints", variant, models, "ckpt"),
                    outputs=_files("confidence", variant, models, "npz"),
                    models=models,
                )

    def audit(self, dumps: tuple[str, ...]) -> Job:
        unaware = [f"audit/{variant.name}/unaware.npz" for variant in self.study.variants]
        adaptive = [f"audit/{v.name}/adaptive.npz" for row in self.study.quantize if row.adaptive for v in row.variants]
        places = ("--input", f"{_OUTPUT}/confidence", "--output", _OUTPUT)
        command = ("audit", "--config", self.study.audit, *places, "--report", "false")  # the report job draws the page
        outputs = ("results.csv", "metrics.json", *unaware, *adaptive)
        return self._job(command, name="audit", stage="audit", inputs=dumps, outputs=outputs)

    def report(self) -> Job:
        return self._job(
            ("report", _OUTPUT),
            name="report",
            stage="report",
            inputs=("results.csv", "metrics.json"),
            outputs=("report.html",),
        )

    def _models(self, row: MethodRow) -> range:
        """Only the targets are quantized where no attacker quantizes shadows."""
        return range(0 if row.adaptive else self.study.n_shadows, self.study.n_models)

    def _lightning(self, command: tuple[str, ...], **fields: Any) -> Job:  # noqa: ANN401
        places = (*self.data, "--trainer.default_root_dir", _OUTPUT)
        return self._job((*command, *shared_options(self.study)), places, **fields)

    def _job(self, command: tuple[str, ...], places: tuple[str, ...] = (), **fields: Any) -> Job:  # noqa: ANN401
        """A job whose recipe is its command with the text of the configs in the place of their names."""
        contents = [self.tree(word) if word.endswith(".yaml") else word for word in command]
        recipe = hashlib.blake2b(json.dumps(contents, default=str).encode(), digest_size=16).hexdigest()
        argv = tuple(word.replace(_OUTPUT, str(self.root)) for word in (*command, *places))
        return Job(argv=argv, recipe=recipe, **fields)


def _index(models: range) -> tuple[str, str]:
    return "--data.model_index", f"{models.start}:{models.stop}"


def _checkpoint(option: str, variant: str) -> tuple[str, str]:
    """Option that names a variant's checkpoints by their pattern."""
    return option, f"{_OUTPUT}/checkpoints/{variant}/{{index:03d}}.ckpt"


def _numbers(row: MethodRow) -> str:
    """Bits as a command line writes them."""
    return json.dumps(
        [
            {key: _whole(value) for key, value in bits.items()} if isinstance(bits, dict) else _whole(bits)
            for bits in row.bits
        ]
    )


def _whole(value: float | str) -> float | str:
    """A whole number without a point; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
