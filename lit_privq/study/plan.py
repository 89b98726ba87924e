"""A study expanded into jobs, each a command line that a person could type."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.trust import packages
from lit_privq.artifacts.variant import FULL_PRECISION, Bits, Variant, precisions
from lit_privq.study.recipe import find, recipe
from lit_privq.study.study_file import MethodRow, Study

Stage = Literal["train", "quantize", "query", "audit", "report"]
STAGES: tuple[Stage, ...] = ("train", "quantize", "query", "audit", "report")
FULL = FULL_PRECISION.name


@dataclass(frozen=True)
class Product:
    """A file that a job makes.

    Args:
        path: relative to the study's folder.
        recipe: digest of what it depends on beside its inputs, see `lit_privq.study.recipe`.
        inputs: files of other jobs that it is made from.
        beside: folder, relative to the study's, all of whose files are made with this one; empty for none.
    """

    path: str
    recipe: str
    inputs: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True)
class Job:
    """One command of a study.

    Args:
        name: of the job and its log.
        stage: what it does.
        argv: command line behind ``python -m lit_privq``.
        products: files it makes, one for each model and variant, or those of the audit or the report.
        needs: names of the jobs that write what it reads.
    """

    name: str
    stage: Stage
    argv: tuple[str, ...]
    products: tuple[Product, ...]
    needs: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files it makes."""
        return tuple(product.path for product in self.products)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Files of other jobs that it reads."""
        return tuple(dict.fromkeys(path for product in self.products for path in product.inputs))

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders all of whose files are its own."""
        return tuple(product.beside for product in self.products if product.beside)

    @property
    def size(self) -> int:
        """What it counts for: its models at each of its precisions; 1 for audit and report."""
        return 1 if self.stage in ("audit", "report") else len(self.products)


@dataclass(frozen=True)
class Fleets:
    """How models are divided among jobs.

    Args:
        size: most models in one job.
        jobs: workers to keep busy.
    """

    size: int
    jobs: int

    def divide(self, models: range) -> list[range]:
        """Contiguous shares of nearly equal size, enough of them to keep every worker busy.

        >>> Fleets(size=10, jobs=2).divide(range(20))
        [range(0, 10), range(10, 20)]
        >>> [len(share) for share in Fleets(size=10, jobs=3).divide(range(20))]
        [6, 7, 7]
        """
        rounds = math.ceil(len(models) / (self.size * self.jobs))
        n = min(len(models), rounds * self.jobs)
        edges = [len(models) * i // n for i in range(n + 1)]
        return [models[start:stop] for start, stop in itertools.pairwise(edges)]


def plan(
    study: Study, root: Path, fleets: Fleets, data_root: Path | None = None, only: Collection[str] | None = None
) -> list[Job]:
    """Every job of a study, in an order that respects what each needs.

    Args:
        study: what `read_study` returned.
        root: the study's folder.
        fleets: how the models are divided among jobs.
        data_root: where the data sets lie; as the data config says where None.
        only: files that have to be made; None for all. A job that makes none of them is left out, and one that makes
            some of them is told only of their models and precisions.

    Raises:
        FileNotFoundError: if a config points at one that does not exist.
    """
    planner = _Planner(study, root, fleets, data_root, only)
    jobs = [*planner.train(), *planner.quantize(), *planner.query(), *planner.audit(), *planner.report()]
    makers = {path: job.name for job in jobs for path in job.outputs}
    return [
        replace(job, needs=tuple(dict.fromkeys(makers[path] for path in job.inputs if path in makers))) for job in jobs
    ]


def shared_options(study: Study) -> list[str]:
    """Options of every Lightning job: the split and the seed, where the study gives them."""
    seeds = {"--data.split_seed": study.split_seed, "--seed_everything": study.seed}
    options = {"--data.n_shadows": study.n_shadows, "--data.n_targets": study.n_targets, **seeds}
    return [text for key, value in options.items() if value is not None for text in (key, str(value))]


def training_recipe(study: Study) -> str:
    """Digest of what a training depends on."""
    return recipe("train", _with_options(study, config_tree(Path(study.shadow))))


def _with_options(study: Study, tree: dict[str, Any]) -> dict[str, Any]:
    """A config with the study's options put in place."""
    split = {"n_shadows": study.n_shadows, "split_seed": study.split_seed}
    data = {**(tree.get("data") or {}), **{key: value for key, value in split.items() if value is not None}}
    seed = {} if study.seed is None else {"seed_everything": study.seed}
    return {**tree, "data": data, **seed}


def _file(folder: str, variant: Variant, model: int) -> str:
    return f"{folder}/{variant.name}/{model:03d}.{'npz' if folder == 'confidence' else 'ckpt'}"


def _span(models: range) -> str:
    return f"{models[0]:03d}-{models[-1]:03d}"


class _Planner:
    """Writes the jobs of each stage."""

    def __init__(
        self, study: Study, root: Path, fleets: Fleets, data_root: Path | None, only: Collection[str] | None
    ) -> None:
        self.study, self.root, self.fleets, self.only = study, root, fleets, only
        self.data = ("--data.root", str(data_root)) if data_root else ()
        self.tree = functools.cache(lambda config: config_tree(Path(config)))
        # The user's recipe names its own network and data set; the checkpoints of this study may name them too.
        named = packages(self.tree(study.shadow)) + study.trust
        self.trust = ("--trust", *sorted(set(named))) if named else ()

    def train(self) -> Iterator[Job]:
        made_by = training_recipe(self.study)
        for models, _ in self._shares("checkpoints", range(self.study.n_models), (FULL_PRECISION,)):
            products = [Product(_file("checkpoints", FULL_PRECISION, model), made_by) for model in models]
            command = ("fit", "--config", self.study.shadow, *_index(models))
            yield self._lightning(f"train-{_span(models)}", "train", command, products)

    def quantize(self) -> Iterator[Job]:
        size = find(self.tree(self.study.shadow).get("data"), "calibration_size")
        calibration = () if size is None else ("--data.calibration_size", str(size))
        for row in self.study.quantize:
            bits = dict(zip(row.variants, row.bits, strict=True))
            made_by = {variant: self._quantized(row, one, size) for variant, one in bits.items()}
            for models, variants in self._shares("checkpoints", self._models(row), row.variants):
                short = "+".join(variant.name.removeprefix(f"{row.name}-") for variant in variants)
                products = [
                    Product(_file("checkpoints", v, m), made_by[v], (_file("checkpoints", FULL_PRECISION, m),))
                    for v in variants
                    for m in models
                ]
                method = ("fit", "--config", row.method, "--model.name", row.name)
                parents = (*self._checkpoint("--model.checkpoint", FULL_PRECISION), *self.trust, *calibration)
                asked = ("--model.bits", _as_typed([bits[variant] for variant in variants]))
                command = (*method, *parents, *_index(models), *asked)
                yield self._lightning(f"quantize-{row.name}-{short}-{_span(models)}", "quantize", command, products)

    def query(self) -> Iterator[Job]:
        made_by = recipe("query", _with_options(self.study, self.tree(self.study.query)))
        for variant, models_of_variant in self._queried():
            for models, _ in self._shares("confidence", models_of_variant, (variant,)):
                products = [
                    Product(_file("confidence", variant, m), made_by, (_file("checkpoints", variant, m),))
                    for m in models
                ]
                asked = (*self._checkpoint("--ckpt_path", variant), *self.trust, *_index(models))
                command = ("predict", "--config", self.study.query, *asked)
                yield self._lightning(f"query-{variant.name}-{_span(models)}", "query", command, products)

    def audit(self) -> Iterator[Job]:
        dumps = tuple(_file("confidence", variant, model) for variant, models in self._queried() for model in models)
        folders = ("--input", str(self.root / "confidence"), "--output", str(self.root))
        targets = ("--n_targets", str(self.study.n_targets))
        command = ("audit", "--config", self.study.audit, *folders, *targets, "--report", "false")  # another job draws
        paths = ("results.csv", "metrics.json", "vulnerability.npz")
        yield from self._whole("audit", command, self.tree(self.study.audit), paths, dumps, beside="audit")

    def report(self) -> Iterator[Job]:
        inputs = ("results.csv", "metrics.json")
        yield from self._whole("report", ("report", str(self.root)), {}, ("report.html",), inputs, beside="figures")

    def _shares(
        self, folder: str, models: range, variants: tuple[Variant, ...]
    ) -> Iterator[tuple[range, tuple[Variant, ...]]]:
        """Models that one job works on, and the variants that they lack."""

        def lacking(model: int) -> tuple[Variant, ...]:
            return tuple(v for v in variants if self.only is None or _file(folder, v, model) in self.only)

        for share in self.fleets.divide(models):
            for wanted, group in itertools.groupby(share, key=lacking):
                if wanted:
                    first, *others = group
                    yield range(first, first + 1 + len(others)), wanted

    def _models(self, row: MethodRow) -> range:
        """Only the targets are quantized where no attacker quantizes shadows."""
        return range(0 if row.adaptive else self.study.n_shadows, self.study.n_models)

    def _queried(self) -> Iterator[tuple[Variant, range]]:
        """Every variant, and its models."""
        yield FULL_PRECISION, range(self.study.n_models)
        for row in self.study.quantize:
            yield from ((variant, self._models(row)) for variant in row.variants)

    def _quantized(self, row: MethodRow, bits: Bits, calibration_size: int | None) -> str:
        """Recipe of a method at one precision."""
        tree = {**self.tree(row.method), "bits": precisions(bits), "calibration_size": calibration_size}
        return recipe("quantize", _with_options(self.study, tree))

    def _checkpoint(self, option: str, variant: Variant) -> tuple[str, str]:
        """Option that names a variant's checkpoints by their pattern."""
        return option, f"{self.root}/checkpoints/{variant.name}/{{index:03d}}.ckpt"

    def _lightning(self, name: str, stage: Stage, command: tuple[str, ...], products: Iterable[Product]) -> Job:
        places = (*self.data, "--trainer.default_root_dir", str(self.root))
        return Job(name, stage, (*command, *shared_options(self.study), *places), tuple(products))

    def _whole(
        self,
        stage: Literal["audit", "report"],
        command: tuple[str, ...],
        tree: dict[str, Any],
        paths: tuple[str, ...],
        inputs: tuple[str, ...],
        beside: str,
    ) -> Iterator[Job]:
        """The one job of a stage that looks at all models, if it has to run."""
        if self.only is None or any(path in self.only for path in paths):
            made_by = recipe(stage, tree)
            first, *others = (Product(path, made_by, inputs) for path in paths)
            yield Job(stage, stage, command, (replace(first, beside=beside), *others))


def _index(models: range) -> tuple[str, str]:
    return "--data.model_index", f"{models.start}:{models.stop}"


def _as_typed(bits: list[float | dict[str, float | str]]) -> str:
    """Bits as a command line writes them."""
    return json.dumps(
        [{key: _whole(value) for key, value in one.items()} if isinstance(one, dict) else _whole(one) for one in bits]
    )


def _whole(value: float | str) -> float | str:
    """A whole number without a point; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
