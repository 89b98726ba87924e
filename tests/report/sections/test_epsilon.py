from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from lit_privq.artifacts.measures import PrivacyBounds
from lit_privq.artifacts.results import Key, OwnValue
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.epsilon import section
from lit_privq.report.view import View

Seen = Callable[..., View]


@pytest.fixture
def same(seen: View, seen_with: Seen) -> Seen:
    """The view where these are the bounds of every variant."""

    def refuted(*epsilon: float) -> PrivacyBounds:
        return PrivacyBounds((16, 17), 0.0, epsilon, sum(map(bool, epsilon)), (math.nan,) * 2, (0.0, 0.0))

    return lambda *epsilon: seen_with(bounds=dict.fromkeys(seen.measures.bounds, refuted(*epsilon)))


def test_a_bound_on_every_target_is_said_with_its_odds(same: Seen) -> None:
    found = section(same(0.6931472, 1.0), Inputs())
    assert found is not None
    assert "ε is at least 0.69 in each of these 2 targets" in found.values["sentence"]
    assert "by 2.0 or more" in found.values["sentence"]
    assert found.values["table"].rows[0].cells[0].text == "at least 0.69 to 1.00"


def test_a_bound_on_some_targets_is_not_said_of_all(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert "on the most exposed target" in found.values["sentence"]


def test_a_bound_of_zero_is_no_guarantee(same: Seen) -> None:
    found = section(same(0.0, 0.0), Inputs())
    assert found is not None
    assert "no lower bound on ε" in found.values["sentence"]
    assert found.values["table"].rows[0].cells[0] == found.values["table"].rows[-1].cells[-1]


def test_without_metrics_there_is_no_section(bare: View) -> None:
    assert section(bare, Inputs()) is None


def test_what_training_guarantees_stands_beside_the_bounds_where_anything_is_guaranteed(
    same: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = same(0.5, 1.0)
    found = section(view, Inputs())
    assert found is not None
    assert "Guaranteed by training" not in found.values["table"].heads
    assert not found.values["guaranteed"]
    key = Key(view.results.variants[0], "accountant_epsilon")
    monkeypatch.setitem(view.results.series, key, dict.fromkeys((16, 17), OwnValue(239.24, math.nan, math.nan)))  # type: ignore[arg-type]
    found = section(view, Inputs())
    assert found is not None
    assert found.values["table"].heads[-1] == "Guaranteed by training"
    assert found.values["guaranteed"]
    assert [row.cells[-1].text for row in found.values["table"].rows][:2] == ["at most 239", "–"]
