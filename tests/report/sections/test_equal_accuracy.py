from __future__ import annotations

from collections.abc import Callable
from math import nan

from lit_privq.artifacts.measures import AtEqualAccuracy, Change, Front
from lit_privq.report.inputs import Inputs
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
    ((title, table),) = found.values["tables"]
    assert (title, table.heads) == ("All members", ("Model", "less Weaker training"))
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
