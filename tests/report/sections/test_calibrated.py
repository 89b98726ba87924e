from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan

from lit_privq.artifacts.measures import SliceGap, Verdict
from lit_privq.artifacts.results import Key
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.calibrated import section
from lit_privq.report.view import View


def judged(seen: View, verdict: Verdict, p: float) -> dict[Key, SliceGap]:
    """Every change without calibration examples, judged so."""
    return {
        key: replace(one, change=replace(one.change, alone=verdict, verdict=verdict, p=p))
        for key, one in seen.measures.gaps.items()
    }


def test_leakage_stands_beside_that_without_calibration_examples(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert len(found.values["table"].rows) == 7
    assert all(row.cells[2].text == "−0.2 points" for row in found.values["table"].rows)
    assert found.values["sentence"] == (
        "Without them 88 members or more are left to judge a target on, and no change of leakage is shown."
    )


def test_a_change_that_chance_does_not_explain_is_said(seen: View, seen_with: Callable[..., View]) -> None:
    found = section(seen_with(gaps=judged(seen, "lower", 0.01)), Inputs())
    assert found is not None
    assert "for 7 of 7 variants; chance alone makes about 1" in found.values["sentence"]
    assert all(row.cells[2].strong for row in found.values["table"].rows)


def test_one_target_does_not_say_whether_it_is_chance(seen: View, seen_with: Callable[..., View]) -> None:
    found = section(seen_with(gaps=judged(seen, "untested", nan)), Inputs())
    assert found is not None
    assert "one target does not say" in found.values["sentence"]


def test_nothing_calibrated_is_no_section(bare: View) -> None:
    assert section(bare, Inputs()) is None
