"""A study expanded into jobs, each a command line that a person could type."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.trust import packages
from lit_privq.artifacts.variant import Bits, Variant, precisions
from lit_privq.study.recipe import find, recipe
from lit_privq.study.study_file import DEFAULT, MethodRow, Recipe, Study

Stage = Literal["train", "quantize", "query", "audit", "report"]
STAGES: tuple[Stage, ...] = ("train", "quantize", "query", "audit", "report")


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
        sizes: most models of other recipes, by name, where that is another number.
    """

    size: int
    sizes: Mapping[str, int] = field(default_factory=dict)

    def divide(self, models: range, recipe: str = "") -> list[range]:
        """Contiguous shares of nearly equal size; how many workers there are makes no difference to their names.

        >>> Fleets(size=10).divide(range(20))
        [range(0, 10), range(10, 20)]
        >>> [len(share) for share in Fleets(size=9).divide(range(20))]
        [6, 7, 7]
        >>> Fleets(size=10, sizes={"large": 2}).divide(range(4), "large")
        [range(0, 2), range(2, 4)]
        """
        n = math.ceil(len(models) / self.sizes.get(recipe, self.size))
        edges = [len(models) * i // n for i in range(n + 1)]
        return [models[start:stop] for start, stop in itertools.pairwise(edges)]


def plan(
    study: Study,
    root: Path,
    fleets: Fleets,
    data_root: Path | None = None,
    only: Collection[str] | None = None,
    left_out: Collection[int] = (),
) -> list[Job]:
    """Every job of a study, in an order that respects what each needs.

    Args:
        study: what `read_study` returned.
        root: the study's folder.
        fleets: how the models are divided among jobs.
        data_root: where the data sets lie; as the data config says where None.
        only: files that have to be made; None for all. A job that makes none of them is left out, and one that makes
            some of them is told only of their models and precisions.
        left_out: models of which nothing more is made, and that are not audited.

    Raises:
        FileNotFoundError: if a config points at one that does not exist.
    """
    planner = _Planner(study, root, fleets, data_root, only, left_out)
    jobs = [*planner.train(), *planner.quantize(), *planner.query(), *planner.audit(), *planner.report()]
    makers = {path: job.name for job in jobs for path in job.outputs}
    return [
        replace(job, needs=tuple(dict.fromkeys(makers[path] for path in job.inputs if path in makers))) for job in jobs
    ]


def with_needs(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """A job behind all those that it needs, directly or by way of each other.

    Args:
        job: one of them.
        jobs: in an order that respects what each needs.
    """
    wanted = {job.name}
    for other in reversed(jobs):
        if other.name in wanted:
            wanted.update(other.needs)
    return [other for other in jobs if other.name in wanted]


def shared_options(study: Study) -> list[str]:
    """Options of every Lightning job: the split and the seed, where the study gives them."""
    seeds = {"--data.split_seed": study.split_seed, "--seed_everything": study.seed}
    options = {"--data.n_shadows": study.n_shadows, "--data.n_targets": study.n_targets, **seeds}
    return [text for key, value in options.items() if value is not None for text in (key, str(value))]


def training_recipe(study: Study, shadow: str, epochs: int | None = None) -> str:
    """Digest of what a training depends on, stopped after so many epochs where these are given."""
    tree = _with_options(study, config_tree(Path(shadow)))
    stopped = {} if epochs is None else {"trainer": {**(tree.get("trainer") or {}), "max_epochs": epochs}}
    return recipe("train", {**tree, **stopped})


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
        self,
        study: Study,
        root: Path,
        fleets: Fleets,
        data_root: Path | None,
        only: Collection[str] | None,
        left_out: Collection[int],
    ) -> None:
        self.study, self.root, self.fleets, self.only, self.left_out = study, root, fleets, only, sorted(left_out)
        data = ("--data.root", str(data_root)) if data_root else ()
        self.pictures = ("--data", study.shadow, *(("--data_root", str(data_root)) if data_root else ()))
        self.shared = (*shared_options(study), *data, "--trainer.default_root_dir", str(root))
        self.tree = functools.cache(lambda config: config_tree(Path(config)))
        # The user's recipes name their own networks and data set; the checkpoints of this study may name them too.
        named = [package for each in study.recipes for package in packages(self.tree(each.shadow))] + study.trust
        self.trust = ("--trust", *sorted(set(named))) if named else ()

    def train(self) -> Iterator[Job]:
        for one in self.study.recipes:
            epochs = {self.study.trained(one.name): None} | {self.study.trained(n): e for n, e in one.early.items()}
            made_by = {variant: training_recipe(self.study, one.shadow, stop) for variant, stop in epochs.items()}
            for models, variants in self._shares("checkpoints", range(self.study.n_models), tuple(epochs)):
                products = [Product(_file("checkpoints", v, model), made_by[v]) for v in variants for model in models]
                stops = _stops({variant: epochs[variant] for variant in variants})
                command = ("fit", "--config", one.shadow, *_index(models), *stops)
                of = _of(variants[0])
                yield self._lightning(f"train{of}-{_span(models)}", "train", command, products)

    def quantize(self) -> Iterator[Job]:
        for row, name in self._rows():
            size = find(self.tree(self._recipe(name).shadow).get("data"), "calibration_size")
            calibration = () if size is None else ("--data.calibration_size", str(size))
            parent = self.study.trained(name)
            for drawn in (self.study.quantized(row, name), *self.study.repeated(row, name)):
                yield from self._quantize(row, drawn, parent, size, calibration)

    def _quantize(
        self,
        row: MethodRow,
        drawn: tuple[Variant, ...],
        parent: Variant,
        size: int | None,
        calibration: tuple[str, ...],
    ) -> Iterator[Job]:
        """What makes one draw of a row's variants of one recipe."""
        bits, repeat = dict(zip(drawn, row.bits, strict=True)), drawn[0].repeat
        made_by = {variant: self._quantized(row, one, size, repeat) for variant, one in bits.items()}
        again = ("--model.repeat", str(repeat)) if repeat else ()
        for models, variants in self._shares("checkpoints", self._models(row, repeat), drawn):
            short = "+".join(replace(v, recipe="").name.removeprefix(f"{row.name}-") for v in variants)
            products = [
                Product(_file("checkpoints", v, m), made_by[v], (_file("checkpoints", parent, m),))
                for v in variants
                for m in models
            ]
            method = ("fit", "--config", row.method, "--model.name", row.name)
            parents = (*self._checkpoint("--model.checkpoint", parent), *self.trust, *calibration)
            asked = ("--model.bits", _as_typed([bits[variant] for variant in variants]), *again)
            command = (*method, *parents, *_index(models), *asked)
            job = f"quantize-{row.name}-{short}{_of(parent)}-{_span(models)}"
            yield self._lightning(job, "quantize", command, products)

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
        dumps = tuple(
            _file("confidence", variant, model)
            for variant, models in self._queried()
            for model in models
            if model not in self.left_out
        )
        folders = ("--input", str(self.root / "confidence"), "--output", str(self.root))
        targets = ("--n_targets", str(self.study.n_targets))
        names = self.study.recipe_names
        recipes = () if names == (DEFAULT,) else ("--recipes", *names)
        families = self.study.families if len(names) > 1 else {}
        rivals = ("--families", json.dumps(families, ensure_ascii=False)) if families else ()
        less = ("--leave_out", *map(str, self.left_out)) if self.left_out else ()
        options = (*folders, *targets, *recipes, *rivals, *less, "--report", "false")  # another job draws
        named = ({"recipes": names} if recipes else {}) | ({"families": families} if families else {})
        tree = self.tree(self.study.audit) | named | ({"leave_out": self.left_out} if less else {})
        paths = ("results.csv", "metrics.json", "vulnerability.npz")
        command = ("audit", "--config", self.study.audit, *options)
        yield from self._whole("audit", command, tree, paths, dumps, beside="audit")

    def report(self) -> Iterator[Job]:
        inputs = ("results.csv", "metrics.json")
        command = ("report", str(self.root), *self.pictures)
        yield from self._whole("report", command, {}, ("report.html",), inputs, beside="figures")

    def _shares(
        self, folder: str, models: range, variants: tuple[Variant, ...]
    ) -> Iterator[tuple[range, tuple[Variant, ...]]]:
        """Models that one job works on, and the variants that they lack."""

        def lacking(model: int) -> tuple[Variant, ...]:
            if model in self.left_out:
                return ()
            return tuple(v for v in variants if self.only is None or _file(folder, v, model) in self.only)

        for share in self.fleets.divide(models, variants[0].recipe):
            for wanted, group in itertools.groupby(share, key=lacking):
                if wanted:
                    first, *others = group
                    yield range(first, first + 1 + len(others)), wanted

    def _models(self, row: MethodRow, repeat: int) -> range:
        """Only those that are attacked are quantized again, and no others where no attacker quantizes shadows."""
        attacked = 0 if find(self.tree(self.study.audit), "design") == "leave_one_out" else self.study.n_shadows
        return range(attacked if repeat else 0 if row.adaptive else self.study.n_shadows, self.study.n_models)

    def _queried(self) -> Iterator[tuple[Variant, range]]:
        """Every variant, and its models."""
        yield from ((self.study.trained(name), range(self.study.n_models)) for name in self.study.recipe_names)
        for row, name in self._rows():
            for drawn in (self.study.quantized(row, name), *self.study.repeated(row, name)):
                yield from ((variant, self._models(row, variant.repeat)) for variant in drawn)

    def _rows(self) -> Iterator[tuple[MethodRow, str]]:
        """Every method, and each of the recipes whose models it quantizes."""
        return ((row, name) for row in self.study.quantize for name in row.recipes)

    def _recipe(self, name: str) -> Recipe:
        """The recipe whose training makes the models of that name."""
        return next(recipe for recipe in self.study.recipes if name in recipe.names)

    def _quantized(self, row: MethodRow, bits: Bits, calibration_size: int | None, repeat: int) -> str:
        """Recipe of a method at one precision."""
        again = {"repeat": repeat} if repeat else {}
        tree = {**self.tree(row.method), "bits": precisions(bits), "calibration_size": calibration_size, **again}
        return recipe("quantize", _with_options(self.study, tree))

    def _checkpoint(self, option: str, variant: Variant) -> tuple[str, str]:
        """Option that names a variant's checkpoints by their pattern."""
        return option, f"{self.root}/checkpoints/{variant.name}/{{index:03d}}.ckpt"

    def _lightning(self, name: str, stage: Stage, command: tuple[str, ...], products: Iterable[Product]) -> Job:
        return Job(name, stage, (*command, *self.shared), tuple(products))

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


def _of(variant: Variant) -> str:
    """A variant's recipe in the name of a job, as in its own name."""
    return f"@{variant.recipe}" if variant.recipe else ""


def _stops(epochs: Mapping[Variant, int | None]) -> tuple[str, ...]:
    """Options of one training that makes the models of a recipe, of some that are it stopped early, or of these alone.

    Args:
        epochs: after which each stops; None where that is for the config to say, first if it is among them.
    """
    ordered = sorted(epochs.items(), key=lambda item: -math.inf if item[1] is None else -item[1])
    (last, stop), *early = ordered
    named = ("--model.recipe", last.recipe) if last.recipe else ()
    stopped = () if stop is None else ("--trainer.max_epochs", str(stop))
    others = json.dumps({variant.recipe: epochs for variant, epochs in early})
    return (*named, *stopped, *(("--model.early", others) if early else ()))


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
