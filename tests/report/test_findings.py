"""Titles say what the audit shows, and that nothing is clear where that is so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lit_privq.report import findings
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View
from lit_privq.report.words import Titles

MadeUp = Callable[..., Path]
FULL = [0.10, 0.11, 0.12, 0.13]
CLEAR = [0.06, 0.071, 0.08, 0.09]
UNCLEAR = [0.04, 0.14, 0.06, 0.16]
EXPOSED, SAFER = [0.99, 0.98, 0.97, 0.98], [0.59, 0.57, 0.58, 0.572]
USEFUL = {"none-32": [0.900, 0.901, 0.902, 0.903], "obc-2": [0.880, 0.881, 0.882, 0.8834]}


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


def seen(folder: Path) -> View:
    return read_inputs(folder)[0]


@pytest.mark.parametrize(
    ("low", "title"),
    [
        (CLEAR, "obc 2 bits leaks less and costs 2.0 points of accuracy"),
        (UNCLEAR, "No precision leaks clearly less"),
        (FULL, "No precision leaks clearly less"),
    ],
)
def test_a_saving_is_the_title_just_where_the_audit_shows_one(made_up: MadeUp, low: list[float], title: str) -> None:
    assert plain(findings.tradeoff(seen(made_up({"none-32": FULL, "obc-2": low}, USEFUL)))) == title


@pytest.mark.parametrize(
    ("average", "worst", "title"),
    [
        (CLEAR, SAFER, "obc 2 bits leaks less, of canaries too"),
        (CLEAR, EXPOSED, "obc 2 bits leaks less, canaries stay exposed"),
        (UNCLEAR, SAFER, "obc 2 bits leaks less of canaries, not clearly on average"),
        (UNCLEAR, EXPOSED, "No precision clearly lowers the AUC among canaries"),
    ],
)
def test_average_and_worst_case_are_told_apart(
    made_up: MadeUp, average: list[float], worst: list[float], title: str
) -> None:
    slices = {"canaries": {"none-32": EXPOSED, "obc-2": worst}}
    assert plain(findings.average_and_worst(seen(made_up({"none-32": FULL, "obc-2": average}, slices=slices)))) == title


def test_different_variants_for_average_and_worst_case_are_both_named(made_up: MadeUp) -> None:
    leaks = {"none-32": FULL, "obc-4": CLEAR, "obc-2": UNCLEAR}
    slices = {"canaries": {"none-32": EXPOSED, "obc-4": EXPOSED, "obc-2": SAFER}}
    title = plain(findings.average_and_worst(seen(made_up(leaks, slices=slices))))
    assert title == "obc 4 bits leaks less on average, obc 2 bits less of canaries"


def test_all_methods_at_the_lowest_bits_are_named_by_these(made_up: MadeUp) -> None:
    leaks = {"none-32": FULL, "obc-4": FULL} | {f"{name}-1.58": CLEAR for name in ("obc", "nearest", "brecq")}
    slices = {"canaries": dict.fromkeys(leaks, EXPOSED)}
    view = seen(made_up(leaks, slices=slices))
    assert plain(findings.average_and_worst(view)) == "1.58 bits or fewer leak less, canaries stay exposed"
    assert plain(findings.changes(view)) == "1.58 bits or fewer leak less, all 4 tests counted"


def test_a_model_that_only_guesses_is_in_no_title(made_up: MadeUp) -> None:
    view = seen(made_up({"none-32": FULL, "obc-2": CLEAR}, USEFUL))
    focus = replace(view.focus, guessing=("obc-2",), least_costly=None, largest=None)
    view = replace(view, measures=replace(view.measures, focus=focus))
    assert findings.tradeoff(view) == "No precision leaks clearly less"
    assert findings.changes(view) == "No change of leakage is clear"


def test_of_one_target_nothing_is_said_beyond_it(made_up: MadeUp) -> None:
    view = seen(made_up({"none-32": [0.5], "obc-2": [0.1]}, noise=0.01))
    assert plain(findings.changes(view)) == "obc 2 bits leaks less in this target"
    assert plain(findings.tradeoff(view)) == "obc 2 bits leaks less in this target"


@pytest.mark.parametrize(
    ("leak", "title"),
    [
        (FULL, "lira online fixed finds 11.5 times as many as chance at full precision"),
        ([0.008, 0.013, 0.009, 0.012], "lira online fixed does not clearly beat random guessing at full precision"),
    ],
)
def test_an_attack_is_compared_with_chance_as_the_audit_does(made_up: MadeUp, leak: list[float], title: str) -> None:
    view = seen(made_up({"none-32": leak}))
    assert findings.attack(view, view.attack) == title


@pytest.mark.parametrize(
    ("low", "title"),
    [
        ([0.880, 0.881, 0.882, 0.8834], "obc 2 bits clearly loses accuracy"),
        ([0.85, 0.93, 0.88, 0.94], "No precision clearly costs accuracy"),
    ],
)
def test_a_cost_is_named_just_where_the_audit_shows_one(made_up: MadeUp, low: list[float], title: str) -> None:
    leaks = {"none-32": FULL, "obc-2": CLEAR}
    view = seen(made_up(leaks, {"none-32": USEFUL["none-32"], "obc-2": low}))
    assert plain(findings.utility(view)) == title


def test_a_networks_name_keeps_its_capitals_within_a_title(made_up: MadeUp) -> None:
    folder = made_up({"none-32": FULL, "obc-2": CLEAR}, USEFUL)
    view = replace(seen(folder), titles=Titles(recipes={"": "ResNet-18"}))
    assert plain(findings.attack(view, view.attack)).endswith(" at ResNet-18, full precision")
    assert plain(findings.attack(seen(folder), view.attack)).endswith(" at full precision")


def test_an_attack_that_is_measured_by_its_auc_is_said_to_reach_one(made_up: MadeUp) -> None:
    view = seen(made_up({"none-32": [0.70, 0.71, 0.70, 0.69]}, metric="auc"))
    assert plain(findings.tradeoff(view)) == "lira online fixed reaches an AUC of 70.0 % at full precision"
