from __future__ import annotations

from collections.abc import Callable
from math import nan

from lit_privq.artifacts.measures import Change, Family, TargetMean, Used
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.families import section
from lit_privq.report.view import View

Seen = Callable[..., View]


def rate(value: float) -> TargetMean:
    return TargetMean(value, value - 0.01, value + 0.01, 0.01, "higher", 4, 4, "higher")


FAMILY = Family(
    ("adaround-4", "adaround-2"), "lira", ("adaround-4", "adaround-4 + adaround-2"), "adaround-4", "tpr_at_0.01",
    rate(0.10), rate(0.09), rate(0.12), Change(-0.02, -0.03, -0.01, 0.01, nan, "lower", "lower"),
)  # fmt: skip
PAIRED = {Key(Variant("adaround", 2, 2), "", "paired", "lira_online_fixed"): Used(("parent", "target + parent"))}


def test_a_family_stands_beside_its_best_version_and_the_parent(seen_with: Seen) -> None:
    found = section(seen_with(families=(FAMILY,)), Inputs())
    assert found is not None
    (row,) = found.values["families"].rows
    assert row.name.replace("\xa0", " ") == "AdaRound 4 bits + AdaRound 2 bits"
    cells = [cell.text.replace("\xa0", " ") for cell in row.cells]
    assert cells[:3] == ["10.0 %", "9.0 %", "12.0 %"]
    assert cells[3].startswith("−2.0")
    assert cells[4] == "AdaRound 4 bits; AdaRound 4 bits + AdaRound 2 bits"
    assert found.values["metrics"].replace("\xa0", " ") == "TPR at 1 % FPR"
    assert found.values["used"] is None


def test_what_the_paired_attacker_uses_is_named(seen_with: Seen) -> None:
    found = section(seen_with(used=PAIRED), Inputs())
    assert found is not None
    (row,) = found.values["used"].rows
    assert [cell.text for cell in row.cells] == ["LiRA online, fixed variance", "parent; target + parent"]
    assert found.values["families"] is None


def test_where_nobody_holds_more_than_the_target_there_is_no_section(seen_with: Seen) -> None:
    assert section(seen_with(families=(), used={}), Inputs()) is None
