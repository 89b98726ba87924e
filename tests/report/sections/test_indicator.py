from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_privq.artifacts.variant import Variant
from lit_privq.indicator.reach import CENSORED, DRIFTING, INTERPOLATING, SATURATED, SMALL
from lit_privq.indicator.runs import write_runs
from lit_privq.indicator.shadows import ShadowRuns
from lit_privq.report import build
from lit_privq.report.sections.indicator import Beside
from lit_privq.report.view import View

QUANTIZERS = {"sign": 1.0, "absmean": 1.58, "uniform-2": 2.0, "uniform-2-max": 2.0, "uniform-4": 4.0, "full": 32.0}


def made(r: dict[str, float], models: int = 6, **changes: Any) -> ShadowRuns:
    """Estimates with a given r; two rivals of variance 1 each, and codes that agree less with every quantizer."""
    rng = np.random.default_rng(0)
    rates = np.array([r[name] for name in QUANTIZERS])[:, None, None] * np.array([1.0, 2.0])  # (Q, 1, rivals)
    mean = np.sqrt(2 * rates).repeat(models, axis=1)
    nothing = np.full((len(QUANTIZERS), models, 1), np.nan)
    codes = [rng.random((models, 400)) < share for share in np.linspace(0.02, 0.5, len(QUANTIZERS) - 1)]
    runs = ShadowRuns(
        quantizers=tuple(QUANTIZERS),
        best=np.zeros((len(QUANTIZERS), models), dtype=np.int64),
        gap_mean=np.concatenate([nothing, mean], axis=2),
        gap_variance=np.concatenate([nothing, np.ones_like(mean)], axis=2),
        gap_reach=np.concatenate([nothing, np.ones_like(mean)], axis=2),
        distinct=np.full((len(QUANTIZERS), models), 2),
        performance=np.array([0.5, 0.7, 0.85, 0.6, 0.93, 0.95])[:, None].repeat(models, axis=1),
        train_score=np.full(models, 0.96),
        meta={"n": 600, "data": "digits", "net": "small_resnet", "metric": "accuracy", "every": 5, "examples": 250},
        models=np.arange(models),
        bits=np.array(list(QUANTIZERS.values())),
        codes=np.array(codes).astype(np.uint8),
    )
    return replace(runs, **changes)


FALLING = {"sign": 0.5, "absmean": 0.2, "uniform-2": 0.1, "uniform-2-max": 0.3, "uniform-4": 0.02, "full": 0.01}


@pytest.fixture(scope="module")
def page(study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("beside") / "study"
    shutil.copytree(study, folder)
    runs = made(FALLING)
    for model in range(6):
        own = slice(model, model + 1)
        across = ("best", "gap_mean", "gap_variance", "gap_reach", "distinct", "performance", "codes")
        part = replace(
            runs,
            **{name: getattr(runs, name)[:, own] for name in across},
            models=runs.models[own],
            train_score=runs.train_score[own],
        )
        write_runs(folder / "indicator" / f"{model:03d}.npz", part)
    build(folder)
    assert {path.name for path in (folder / "figures").glob("mis_*")} == {
        f"mis_{name}.{kind}" for name in ("r", "agreement") for kind in ("png", "svg")
    }
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def beside(bare: View) -> Callable[..., Beside]:
    """Estimates beside the believable study."""
    return lambda *arguments, **changes: Beside(made(*arguments, **changes), bare)


def section(page: str) -> str:
    start = page.index('<div id="indicator"')
    return page[start : page.index("</section>", start)]


def test_the_page_shows_a_row_for_each_quantizer_two_figures_and_whose_the_parts_are(page: str) -> None:
    found = section(page)
    assert len(re.findall(r'<th scope="row">', found)) == len(QUANTIZERS)
    assert found.count('<svg role="img"') == 2
    for words in ("6 models of n = 600 members", "5 steps apart", "on 250 examples", "Uniform 2 max"):
        assert words in found
    assert "arXiv:2502.06567" in found
    assert "our reconstruction" in found
    assert found.count("–</td>") == 4  # no variant stands beside the sign, nor beside a quantizer that fits worse


def test_a_study_without_the_callback_has_no_such_section(built: Path) -> None:
    assert "MIS indicator" not in (built / "report.html").read_text(encoding="utf-8")


def test_variants_stand_beside_the_most_accurate_quantizer_at_their_bits(beside: Callable[..., Beside]) -> None:
    names = {variant.name: QUANTIZERS_IN_ORDER[row] for variant, row in beside(FALLING).rows.items()}
    assert names == {
        "none-32": "full", "nearest-4": "uniform-4", "nearest-2": "uniform-2", "nearest-1.58": "absmean",
        "adaround-4": "uniform-4", "adaround-2": "uniform-2", "adaround-1.58": "absmean",
    }  # fmt: skip


QUANTIZERS_IN_ORDER = tuple(QUANTIZERS)


def test_the_correlation_is_one_where_r_falls_as_leakage_rises(beside: Callable[..., Beside]) -> None:
    first = beside(FALLING).verdict
    assert "over 7 variants compared with 4 quantizers" in first
    value = float(re.search(r"([+−]\d\.\d\d) for r", first)[1].replace("−", "-"))  # type: ignore[index]
    assert value > 0.9
    rising = {name: 1 / r for name, r in FALLING.items()}
    assert "−0.9" in beside(rising).verdict


def test_no_correlation_is_given_for_few_points(beside: Callable[..., Beside]) -> None:
    coarse = made(FALLING).bits.copy()
    coarse[list(QUANTIZERS).index("uniform-4")] = 5  # nothing at 4 bits is left
    first = beside(FALLING, bits=coarse).verdict
    assert first.startswith("No correlation with LiRA is given: 5 variants compared with 3 quantizers")
    assert "Spearman" not in first


def test_a_study_at_other_bits_still_has_its_table(beside: Callable[..., Beside]) -> None:
    other = beside(FALLING, bits=np.array([5.0, 5, 6, 6, 7, 9]))
    assert other.rows == {}
    assert list(other.figures()) == []
    assert "no variant of the study has the bits of a quantizer" in other.verdict
    assert len(other.table.rows) == len(QUANTIZERS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"meta": {**made(FALLING).meta, "n": 10}}, SMALL),
        ({"distinct": np.full((6, 6), 3)}, SATURATED),
        ({"gap_mean": np.full((6, 6, 3), np.nan)}, CENSORED),
        ({"train_score": np.ones(6)}, INTERPOLATING),
    ],
)
def test_where_the_theory_does_not_reach_the_page_warns(
    beside: Callable[..., Beside], changes: dict[str, Any], reason: str | None
) -> None:
    told = " ".join(beside(FALLING, **changes).sentences).lower().replace("−", "-")
    reasons = (SMALL, SATURATED, CENSORED, INTERPOLATING, DRIFTING)
    assert {each for each in reasons if each.lower() in told} == ({reason} if reason else set())


def test_drifting_snapshots_are_warned_of(beside: Callable[..., Beside]) -> None:
    told = " ".join(beside({name: 1 / r for name, r in FALLING.items()}).sentences)
    assert f"{DRIFTING[0].upper()}{DRIFTING[1:]} (all)." in told


def test_a_warning_names_its_quantizers(beside: Callable[..., Beside]) -> None:
    few = beside(FALLING, meta={**made(FALLING).meta, "n": 40})
    (warning,) = (sentence for sentence in few.sentences if "n r is below 1" in sentence)
    assert warning.endswith("(Uniform 4 and Full precision).")


def test_runs_without_a_rival_are_infinite_and_left_out_of_the_figure(beside: Callable[..., Beside]) -> None:
    alone = made(FALLING).gap_mean.copy()
    alone[1] = np.nan  # absmean
    found = beside(FALLING, gap_mean=alone)
    assert [row.cells[1].text for row in found.table.rows][1] == "∞"
    assert any(sentence.startswith("∞: ") for sentence in found.sentences)
    figure = next(found.figures()).figure
    assert len(figure.axes[0].lines) >= len(found.rows) - 2
    assert all(np.isfinite(np.asarray(line.get_xdata(), dtype=float)).all() for line in figure.axes[0].lines)


def test_one_model_has_no_code_agreement(beside: Callable[..., Beside]) -> None:
    single = beside(FALLING, models=1)
    assert [row.cells[7].text for row in single.table.rows] == ["–"] * 6
    assert "code agreement" not in single.verdict
    assert [drawing.name for drawing in single.figures()] == ["mis_r"]


def test_full_precision_stands_in_every_methods_column(beside: Callable[..., Beside]) -> None:
    shown = beside(FALLING)
    *_, full = shown.table.rows
    leaks = [cell.text for cell in full.cells[-2:]]
    assert leaks[0] == leaks[1] == f"{100 * shown.leakage(Variant('none', 32, 32)):.1f}\N{NO-BREAK SPACE}%"


def test_a_damaged_file_stops_the_report_before_anything_is_written(study: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "metrics.json"):
        shutil.copy(study / name, tmp_path)
    (tmp_path / "indicator").mkdir()
    (tmp_path / "indicator/000.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is no stored indicator, or is damaged"):
        build(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.csv", "metrics.json", "indicator"}
