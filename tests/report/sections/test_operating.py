from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan

from lit_privq.artifacts.measures import Rate
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.operating import section
from lit_privq.report.view import View


def test_the_strongest_attacker_of_every_variant_is_shown(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    shown = [row.cells[0].text for row in found.values["table"].rows]
    assert shown == [seen.strongest(v) for v in seen.results.variants]
    assert found.values["bound"] == 0.01
    assert len(found.values["every"].rows) == len(seen.measures.thresholds)


def test_rates_and_precisions_stand_with_their_intervals(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert found.values["table"].heads[-1] == "Precision if 1 in 100 is a member"
    row = found.values["table"].rows[0]
    assert (row.cells[1].text, row.cells[1].note) == ("1.10\xa0%", "0.80 to 1.50\xa0%")
    assert (row.cells[3].text, row.cells[3].note) == ("90\xa0%", "80 to 95\xa0%")
    assert (row.cells[5].text, row.cells[5].note) == ("–", "")
    assert "aims at 1\xa0% FPR and reaches 1.10\xa0%" in found.values["sentence"]


def test_only_precisions_that_exist_are_said(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert found.values["sentence"].endswith("so many are members: 90\xa0% if 1 in 2 is and 50\xa0% if 1 in 10 is.")


def test_a_threshold_that_nobody_passes_is_said_in_words(seen: View, seen_with: Callable[..., View]) -> None:
    nobody = tuple(
        replace(point, precision=dict.fromkeys(point.precision, Rate(nan, nan, nan)))
        for point in seen.measures.thresholds
    )
    found = section(seen_with(thresholds=nobody), Inputs())
    assert found is not None
    assert found.values["sentence"].endswith("No example of the targets is called a member, so there is no precision.")


def test_every_threshold_comes_in_the_order_of_the_other_tables(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    order = list(dict.fromkeys(row.name for row in found.values["every"].rows))
    assert order == [seen.label(variant) for variant in seen.results.variants]


def test_without_metrics_there_is_no_section(bare: View) -> None:
    assert section(bare, Inputs()) is None
