import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.artifacts.measures import (
    Change,
    Measures,
    PrivacyBounds,
    Rate,
    ShadowThreshold,
    SliceGap,
    Standing,
    write_measures,
)
from lit_privq.artifacts.results import NOT_CALIBRATION, Results, read_results
from lit_privq.audit.measure import Measure, PerTarget
from lit_privq.audit.summary import Summary
from lit_privq.report import build
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View
from lit_privq.report.words import Titles

N_EXAMPLES, N_SHADOWS, N_TARGETS = 1200, 16, 4
COLUMNS = ["dataset", "net", "target", "method", "bits", "last_bits", "attacker", "attack", "metric", "value"]
ATTACKS = {  # how much of the signal an attack sees
    "lira_online": 0.9, "lira_online_fixed": 1.0, "lira_offline": 0.55, "lira_offline_fixed": 0.6,
    "lira_offline_onesided": 0.7, "lira_offline_onesided_fixed": 0.75, "threshold": 0.35,
}  # fmt: skip


class Fake(NamedTuple):
    method: str
    bits: float
    last_bits: float
    accuracy: float
    signal: float

    @property
    def name(self) -> str:
        return f"{self.method}-{self.bits:g}" + (f"-last{self.last_bits:g}" if self.last_bits != self.bits else "")


TITLES = Titles(
    {"nearest": "Nearest", "adaround": "AdaRound"},
    {
        name: name.replace("_", " ").capitalize().replace("Lira", "LiRA").replace(" fixed", ", fixed variance")
        for name in ATTACKS
    },
)
VARIANTS = (
    Fake("none", 32, 32, 0.957, 1.0),
    Fake("nearest", 4, 4, 0.955, 0.97),
    Fake("nearest", 2, 2, 0.861, 0.45),
    Fake("nearest", 1.58, 1.58, 0.634, 0.22),
    Fake("adaround", 4, 4, 0.956, 0.98),
    Fake("adaround", 2, 2, 0.944, 0.72),
    Fake("adaround", 1.58, 1.58, 0.917, 0.45),
    Fake("adaround", 1.58, 8, 0.936, 0.55),
)
STUDY = {
    "command": "python -m lit_privq study --config configs/study/digits.yaml --output runs/demo",
    "versions": {"lit_privq": "0.1.0", "python": "3.11.7", "torch": "2.9.0", "lightning": "2.5.5", "numpy": "2.4.6"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dataset": "digits", "net": "small_resnet", "n_shadows": N_SHADOWS, "n_targets": N_TARGETS,
    "seed": 0, "split_seed": 0, "choices": {"shadow fleet": 10, "calibration fleet": 20},
    "seconds": {"shadow": 71.4, "adaround": 48.2, "nearest": 6.1, "query": 12.9, "audit": 2.4, "report": 4.0},
    "started": "2026-01-02T10:11:12", "titles": TITLES.methods,
}  # fmt: skip


def half(rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.permutation(np.arange(N_EXAMPLES) % 2 == 0)


def tpr(members: NDArray[np.float64], others: NDArray[np.float64], bound: float) -> str:
    if bound * len(others) < 1:
        return ""
    return repr(float((members > np.sort(others)[::-1][int(bound * len(others))]).mean()))


def auc(members: NDArray[np.float64], others: NDArray[np.float64]) -> str:
    return repr(float((np.searchsorted(np.sort(others), members) / len(others)).mean()))


def write_study(directory: Path, *, intervals: bool = True) -> Path:
    rng = np.random.default_rng(7)
    targets = np.arange(N_SHADOWS, N_SHADOWS + N_TARGETS)
    members = np.stack([half(rng) for _ in targets])  # (targets, examples)
    fragile = rng.gamma(0.6, 1.3, N_EXAMPLES)  # how much training on an example moves it
    noise = rng.normal(size=members.shape)
    rows: list[list[object]] = []
    for variant in VARIANTS:
        head = ["digits", "small_resnet"]
        tail = [variant.method, f"{variant.bits:g}", f"{variant.last_bits:g}"]
        for target in targets:
            value = variant.accuracy + rng.normal(0, 0.004 + 0.1 * (0.957 - variant.accuracy))
            rows.append([*head, target, *tail, "", "", "accuracy", repr(float(value)), "", ""])
        for attacker in ("unaware",) if variant.method == "none" else ("unaware", "adaptive"):
            strength = variant.signal * (0.7 if attacker == "unaware" and variant.method != "none" else 1.0)
            fresh = np.sqrt(1 - strength**2 * 0.8) * rng.normal(size=members.shape)
            arrays = {}
            for attack, sight in ATTACKS.items():
                scores = members * fragile * strength * sight + 0.9 * noise * strength + fresh
                arrays[attack] = scores
                for row, inside, target in zip(scores, members, targets, strict=True):
                    measured = {
                        "auc": auc(row[inside], row[~inside]),
                        "log_auroc": repr(0.5 + 0.2 * (float(auc(row[inside], row[~inside])) - 0.5)),
                        "tpr_at_0.001": tpr(row[inside], row[~inside], 0.001),
                        "tpr_at_0.01": tpr(row[inside], row[~inside], 0.01),
                    }
                    for metric, text in measured.items():
                        ends = ["", ""]
                        if intervals and text and metric.startswith("tpr"):
                            reach = 1.96 * np.sqrt(float(text) * (1 - float(text)) / inside.sum()) + 0.004
                            ends = [max(0.0, float(text) - reach), float(text) + reach]
                        rows.append([*head, target, *tail, attacker, attack, metric, text, *ends])
            path = directory / "audit" / variant.name / f"{attacker}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, targets=targets, members=members, **arrays)
    with (directory / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*COLUMNS, "low", "high"], *rows])
    (directory / "study.json").write_text(json.dumps(STUDY))
    write_conclusions(directory)
    return directory


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A believable study: do not write into it, copy it."""
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def conclude() -> Callable[[Path], None]:
    """Write the metrics.json that goes with a folder's results.csv."""
    return write_conclusions


@pytest.fixture
def write_view(write_results: Callable[..., Path]) -> Callable[..., View]:
    """Write results.csv and metrics.json of given rows; what the page looks at in them."""

    def write(*rows: dict[str, object]) -> View:
        path = write_results(*rows)
        write_conclusions(path.parent)
        return read_inputs(path.parent)[0]

    return write


def copied_and_built(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a study's folder, with its page."""
    directory = tmp_path_factory.mktemp("built") / "study"
    shutil.copytree(study, directory)
    build(directory)
    return directory


@pytest.fixture(scope="session")
def built(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the believable study, with its page."""
    return copied_and_built(study, tmp_path_factory)


def concluded(results: Results) -> Measures:
    """What an audit concludes from results, without resamples of its examples."""
    summary = Summary([0.001, 0.01])
    for key, cells in results.series.items():
        values = {Measure(key.metric): PerTarget(np.array([cell.value for cell in cells.values()]))}
        if key.attack:
            summary.add(key.variant, key.attacker, list(cells), {key.attack: values})
        else:
            summary.add_utility(key.variant, list(cells), values, {"accuracy": 0.1, "r2": 0.0})
    return summary.measures({}, results, TITLES.attacks)


def write_conclusions(directory: Path) -> None:
    """The part of metrics.json that results.csv alone decides."""
    write_measures(directory / "metrics.json", concluded(read_results(directory / "results.csv")))


def write_metrics(directory: Path) -> None:
    """A metrics.json with every part that the page reads."""
    results = read_results(directory / "results.csv")
    measures = concluded(results)
    less = Change(-0.002, -0.006, 0.002, 0.2, nan, "unclear", "unclear")
    precision = {0.5: Rate(0.9, 0.8, 0.95), 0.1: Rate(0.5, 0.4, 0.6), 0.01: Rate(nan, nan, nan)}
    reached = {key: mean.value for key, mean in measures.means.items() if key.metric == "tpr_at_0.01"}
    outside = {
        key._replace(slice=NOT_CALIBRATION): mean
        for key, mean in measures.means.items()
        if key.attack and key.variant.quantized
    }
    standing = Standing(300, 435, 200, (7, 9, 11, 13), 0.6, 0.66, 2, 1200)
    whole = replace(
        measures,
        means=measures.means | {key: replace(mean, value=mean.value - 0.002) for key, mean in outside.items()},
        gaps={key: SliceGap(88, less) for key in outside},
        slices={NOT_CALIBRATION: 88},
        thresholds=tuple(
            ShadowThreshold(
                key.variant, key.attacker, key.attack, 0.01, 1.5, Rate(0.011, 0.008, 0.015),
                Rate(tpr, tpr / 2, 2 * tpr), precision,
            )
            for key, tpr in reached.items()
        ),
        bounds={
            key._replace(metric="epsilon"): PrivacyBounds(
                (16, 17, 18, 19), 0.0, (0.0, 0.5, 1.0, 10 * tpr), 3, (nan,) * 4, (0.0, 0.3, 0.6, 3 * tpr)
            )
            for key, tpr in reached.items()
        },
        standing={variant.name: standing for variant in results.variants},
        notes=("RMIA at temperature 1",),
    )  # fmt: skip
    write_measures(directory / "metrics.json", whole)


@pytest.fixture(scope="session")
def measured_study(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The believable study with its metrics.json: do not write into it, copy it."""
    directory = tmp_path_factory.mktemp("measured") / "study"
    shutil.copytree(study, directory)
    write_metrics(directory)
    return directory


@pytest.fixture(scope="session")
def seen(measured_study: Path) -> View:
    """What the page looks at in it."""
    return read_inputs(measured_study)[0]


@pytest.fixture(scope="session")
def bare(study: Path) -> View:
    """The same where the audit left nothing but means, changes and its focus."""
    return read_inputs(study)[0]


@pytest.fixture
def seen_with(seen: View) -> Callable[..., View]:
    """The view of the believable study with other parts of metrics.json."""
    return lambda **parts: replace(seen, measures=replace(seen.measures, **parts))


@pytest.fixture(scope="session")
def measured_built(measured_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the believable study with everything measured, with its page."""
    return copied_and_built(measured_study, tmp_path_factory)
