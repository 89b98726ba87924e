from __future__ import annotations

from collections.abc import Callable
from math import nan

from lit_privq.artifacts.measures import Draws, Rate
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.draws import section
from lit_privq.report.view import View

PARTS = Rate(0.02, 0.01, 0.03), Rate(nan, nan, nan), Rate(0.0, 0.0, 0.01)
FOUND = (
    Draws("adaround-2", "accuracy", 4, 2, 0.94, *PARTS, 0.05, 0.4),
    Draws("adaround-2", "tpr_at_0.01", 4, 2, 0.08, *PARTS, 0.11, 0.001),
)


def test_a_study_without_repeats_has_no_such_section(seen: View) -> None:
    assert section(seen, Inputs()) is None


def test_components_stand_beside_the_mean_and_clusters_are_named(seen_with: Callable[..., View]) -> None:
    found = section(seen_with(draws=FOUND), Inputs())
    assert found is not None
    accuracy, leakage = found.values["table"].rows
    assert [cell.text.replace("\xa0", " ") for cell in accuracy.cells[:4]] == ["accuracy", "94.0 %", "2.0 points", "–"]
    assert leakage.cells[-1].strong
    assert not accuracy.cells[-1].strong
    clusters = found.values["sentences"][1].replace("\xa0", " ")
    assert clusters == "Hartigan’s dip test finds more than one cluster in TPR at 1 % FPR of AdaRound 2 bits."
    svg, _ = found.drawings[0].files()
    assert "AdaRound 2\xa0bits" in svg
