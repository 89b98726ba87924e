"""All that is known of each model of a study at each variant, under the names that it has in Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.measures import Focus, Measures, read_measures
from lit_privq.artifacts.results import ALL, DEFAULT_RECIPE, POOL, SLICE, Key, Results, read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.tracking.records import QUANTIZE, QUERY, STAGES, TRAIN, StageRecord, finite, recorded
from lit_privq.tracking.runs import run_name

_UTILITIES = ("accuracy", "r2", "mae")


@dataclass(frozen=True)
class ModelRun:
    """One model at one variant, from its training to the attacks on it.

    Args:
        variant: what was done to the model.
        model: its index.
        job_type: target or shadow; empty where nothing says it.
        tags: data set, network, recipe, method and bits.
        config: what it is, and under ``train``, ``quantize`` and ``query`` the resolved configs of these commands.
        history: epochs of its training, or units of its quantization.
        summary: numbers by name, such as ``test/accuracy`` and ``audit/tpr_at_0.001/canaries``.
    """

    variant: Variant
    model: int
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the run."""
        return run_name(self.variant.name, self.model)

    @property
    def parent(self) -> str:
        """Name of the run of the full-precision model that this one was made from; its own where it is that."""
        return run_name(self.variant.parent.name, self.model)


@dataclass(frozen=True)
class StudyRuns:
    """A study's folder as W&B sees it.

    Args:
        name: of the study, the group of its runs.
        study: study.json; empty where there is none.
        models: every model at every variant that left a record or was audited.
        results: what the audit measured; None before it.
        measures: what it concluded.
    """

    name: str
    study: Mapping[str, Any]
    models: tuple[ModelRun, ...]
    results: Results | None = None
    measures: Measures | None = None


def read_runs(root: Path) -> StudyRuns:
    """Read what the commands and the audit left in a study's folder, finished or not.

    Args:
        root: the folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a file in it is damaged.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}; give the --output of a study")
    study = read_json(root / "study.json")
    audited = (root / "results.csv").is_file() and (root / "metrics.json").is_file()
    results = read_results(root / "results.csv") if audited else None
    measures = read_measures(root / "metrics.json", results) if results else None
    name = study.get("name") or root.absolute().name
    records = recorded(root)
    targets = {(key.variant, target) for key, cells in results.series.items() for target in cells} if results else set()
    reader = _Reader(name, study, records, results, measures)
    order = sorted({*records, *targets}, key=lambda one: (one[0].recipe, one[0].quantized, one[0].name, one[1]))
    return StudyRuns(name, study, tuple(reader.run(*one) for one in order), results, measures)


@dataclass(frozen=True)
class _Reader:
    """Puts together what is known of a model."""

    name: str
    study: Mapping[str, Any]
    records: Mapping[tuple[Variant, int], Mapping[str, StageRecord]]
    results: Results | None
    measures: Measures | None

    def run(self, variant: Variant, model: int) -> ModelRun:
        """Everything of one model at one variant."""
        parent = self.records.get((variant.parent, model), {})
        stages = {TRAIN: parent.get(TRAIN, StageRecord()), **self.records.get((variant, model), {})}
        made = stages.get(QUANTIZE if variant.quantized else TRAIN, StageRecord())
        about = self._about(variant, stages)
        ended = {} if variant.quantized else stages[TRAIN].summary
        for stage in (QUANTIZE, QUERY):
            ended = {**ended, **stages.get(stage, StageRecord()).summary}
        return ModelRun(
            variant,
            model,
            self._job_type(about, model),
            (about["dataset"], about["net"], about["recipe"], variant.method, f"{variant.bits:g} bits"),
            {
                **about,
                "study": self.name,
                "variant": variant.name,
                "method": variant.method,
                "bits": variant.bits,
                "last_bits": variant.last_bits,
                "layers": variant.layers,
                "repeat": variant.repeat,
                "model_index": model,
                **self._attack(variant),
                **{stage: dict(stages[stage].config) for stage in STAGES if stage in stages and stages[stage].config},
            },
            made.history,
            finite({**ended, **self._audited(variant, model)}),
        )

    def _about(self, variant: Variant, stages: Mapping[str, StageRecord]) -> dict[str, Any]:
        """Data set, network, recipe, and how many models there are."""
        found = {key: value for stage in stages.values() for key, value in stage.about.items()}
        dataset, net, recipe = found.get("dataset", ""), found.get("net", ""), _first_recipe(self.study)
        if self.results:
            dataset, net = self.results.dataset, self.results.nets.get(variant.recipe, net)
            recipe = self.results.first_recipe
        sizes = {key: self.study.get(key, found.get(key)) for key in ("n_shadows", "n_targets")}
        return {"dataset": dataset, "net": net, "recipe": variant.recipe or recipe, **sizes}

    def _job_type(self, about: Mapping[str, Any], model: int) -> str:
        shadows = about["n_shadows"]
        return "" if shadows is None else "shadow" if model < shadows else "target"

    def _attack(self, variant: Variant) -> dict[str, Any]:
        """Whose attack the numbers below ``audit/`` are: the strongest attacker's, by the headline's attack."""
        if self.measures is None:
            return {}
        focus = self.measures.focus
        return {
            "attack": focus.attack,
            "attacker": focus.strongest.get(variant.name, ""),
            "worst_attacker": focus.worst_strongest.get(variant.name, ""),
            "worst_slice": focus.worst,
        }

    def _audited(self, variant: Variant, model: int) -> dict[str, Any]:
        """What the audit measured of a target, by name."""
        if self.results is None or self.measures is None:
            return {}
        keys = (key for key in self.results.series if key.variant == variant)
        named = {name: key for key in keys if (name := metric_name(key, self.measures.focus))}
        return {name: self.results.series[key][model].value for name, key in named.items() if self._has(key, model)}

    def _has(self, key: Key, model: int) -> bool:
        return self.results is not None and model in self.results.series[key]


def _first_recipe(study: Mapping[str, Any]) -> str:
    """Name of the recipe that variants do not spell, before an audit has written it down."""
    recipes = study.get("study", {}).get("recipes") or [{}]
    name: str = recipes[0].get("name", DEFAULT_RECIPE)
    return name


def metric_name(key: Key, focus: Focus) -> str:
    """Name in W&B of what was measured; empty for attacks that are in the study's table only.

    The AUC of the worst-case slice is that of its members and its own non-members. Of the attackers only the strongest
    is named, of the attacks only the headline's: every variant has the same names, so that W&B's tables and plots
    compare them.
    """
    is_worst_area = bool(focus.worst) and (key.slice, key.metric) == (focus.worst, "auc")
    if key.against != (SLICE if is_worst_area else POOL):
        return ""
    part = "" if key.slice == ALL else f"/{key.slice}"
    if not key.attack:
        name = "size/bytes" if key.metric == "size_bytes" else f"test/{key.metric}" if key.metric in _UTILITIES else ""
        return f"{name}{part}" if name else ""
    strongest = focus.worst_strongest if focus.worst and key.slice == focus.worst else focus.strongest
    is_headline = key.attack == focus.attack and key.attacker == strongest.get(key.variant.name)
    return f"audit/{key.metric}{part}" if is_headline else ""


def table_rows(runs: StudyRuns) -> Iterator[dict[str, Any]]:
    """A row for each run: its name, what it is, and its summary; for a data frame."""
    for one in runs.models:
        config = {key: value for key, value in one.config.items() if not isinstance(value, Mapping)}
        yield {"run": one.name, "job_type": one.job_type, **config, **one.summary}
