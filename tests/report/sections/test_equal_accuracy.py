from __future__ import annotations

import re
from collections.abc import Callable
from math import nan
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.measures import AtEqualAccuracy, Change, Front, read_measures, write_measures
from lit_privq.artifacts.results import read_results
from lit_privq.audit.fronts import at_equal_accuracy
from lit_privq.report import build, figures
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.equal_accuracy import section
from lit_privq.report.view import View

Seen = Callable[..., View]
LOWER = Change(-0.02, -0.03, -0.01, 0.001, 0.002, "lower", "lower")
NOTHING = Change(nan, nan, nan, nan, nan, "untested", "untested")
FRONTS = (
    Front("Weaker training", "all", ("nearest-2", "nearest-4", "none-32"), ("nearest-1.58",)),
    Front("smooth", "all", ("none-32",), ()),
)
BESIDE = (
    AtEqualAccuracy("Weaker training", "all", "adaround-2", "inside", 0.05, LOWER),
    AtEqualAccuracy("Weaker training", "all", "adaround-1.58", "below", nan, NOTHING),
)


def test_a_study_without_rivals_has_no_such_section(seen: View) -> None:
    assert section(seen, Inputs()) is None


def test_each_variant_stands_beside_each_front_or_is_said_to_lie_outside(seen_with: Seen) -> None:
    found = section(seen_with(fronts=FRONTS, at_equal_accuracy=BESIDE), Inputs())
    assert found is not None
    ((title, what, table),) = found.values["tables"]
    assert (title, what.replace("\xa0", " ")) == ("All members", "TPR at 1 % FPR")
    assert table.heads == ("Model", "less Weaker training")
    two, ternary = (row.cells[0] for row in table.rows)
    assert two.text.replace("\xa0", " ").startswith("−2.0")
    assert two.strong
    assert (ternary.text, ternary.note) == ("outside", "below its accuracies")


def test_single_points_and_dominated_models_are_named(seen_with: Seen) -> None:
    found = section(seen_with(fronts=FRONTS, at_equal_accuracy=BESIDE), Inputs())
    assert found is not None
    assert found.values["single"] == "Smooth"
    assert found.values["dominated"].replace("\xa0", " ") == "Weaker training: Nearest 1.58 bits"
    (sentence,) = found.values["sentences"]
    assert "of 2 comparisons" in sentence
    assert "1 are at an accuracy" in sentence


def test_the_figure_has_a_line_for_each_front_and_a_name_for_each_point(seen_with: Seen) -> None:
    found = section(seen_with(fronts=FRONTS, at_equal_accuracy=BESIDE), Inputs())
    assert found is not None
    (drawing,) = found.drawings
    svg, _ = drawing.files()
    for text in ("Weaker training", "Smooth", "full precision", "2\xa0bits"):
        assert text in svg


@pytest.fixture
def rivals_folder(made_up: Callable[..., Path]) -> Path:
    """A study of two recipes with canaries, of which the quantized models keep more than of the average."""
    accuracy = {"none-32": 0.95, "descent-2": 0.94, "descent-1": 0.90, "none-32@dp": 0.96, "descent-2@dp": 0.93}
    accuracy |= {"none-32@dp_more": 0.92}
    leakage = {"none-32": 0.10, "descent-2": 0.06, "descent-1": 0.04, "none-32@dp": 0.08, "descent-2@dp": 0.05}
    leakage |= {"none-32@dp_more": 0.02}
    canaries = {"none-32": 0.99, "descent-2": 0.97, "descent-1": 0.8, "none-32@dp": 0.3, "descent-2@dp": 0.25}
    canaries |= {"none-32@dp_more": 0.1}
    shift = np.array([-0.002, 0.0, 0.001, 0.001])
    accuracy, leakage, canaries = (  # type: ignore[assignment]
        {name: (value + shift * (-1) ** place).tolist() for place, (name, value) in enumerate(each.items())}
        for each in (accuracy, leakage, canaries)
    )
    folder = made_up(leakage, accuracy, slices={"canaries": canaries})
    results = read_results(folder / "results.csv")
    measures = read_measures(folder / "metrics.json", results)
    families = {"dp": "DP-SGD", "dp_more": "DP-SGD"}
    write_measures(folder / "metrics.json", at_equal_accuracy(measures, results, families))
    return folder


@pytest.fixture
def rivals(rivals_folder: Path) -> View:
    """The same as the page looks at it."""
    return read_inputs(rivals_folder)[0]


def test_the_tables_of_rivals_are_saved_under_names_of_their_own(rivals_folder: Path) -> None:
    names = re.findall(r'download="([^"]+)"', build(rivals_folder).read_text(encoding="utf-8"))
    assert {"equal_accuracy.csv", "equal_accuracy_canaries.csv"} <= set(names)
    assert len(names) == len(set(names))


def test_canaries_have_a_table_and_a_figure_of_their_own(rivals: View) -> None:
    found = section(rivals, Inputs())
    assert found is not None
    (every, _, table), (canaries, what, own) = found.values["tables"]
    assert (every, canaries, what) == ("All members", "Canaries", "AUC among canaries")
    column = table.heads.index("less DP-SGD") - 1
    assert own.heads == table.heads
    cells = [
        next(row for row in part.rows if row.name.replace("\xa0", " ").casefold() == "descent 2 bits").cells[column]
        for part in (table, own)
    ]
    assert [cell.text.split()[0] for cell in cells] == ["+1.5", "+0.786"]  # the front lies 42 % of its odds on
    assert [drawing.name for drawing in found.drawings] == ["equal_accuracy", "equal_accuracy_canaries"]
    assert [drawing.figure.texts[0].get_text() for drawing in found.drawings] == [
        "At equal accuracy compressed models leak less in\n1 and more in 3 of 4 comparisons",
        "At equal accuracy compressed models leak less in\n1 and more in 3 of 4 comparisons for canaries",
    ]  # fmt: skip
    assert "canaries" in found.drawings[1].alt


@pytest.mark.parametrize("part", ["all", "canaries"])
def test_no_two_fronts_look_alike(rivals: View, part: str) -> None:
    fronts = [front for front in rivals.measures.fronts if front.slice == part]
    figure = figures.fronts(rivals, part, {front.rival: front.rival for front in fronts})
    looks = {
        handle.get_label(): (handle.get_color(), handle.get_marker()) for handle in figure.legends[0].legend_handles
    }
    assert {"descent", "descent@dp", "DP-SGD"} == set(looks)
    assert len(set(looks.values())) == 3
