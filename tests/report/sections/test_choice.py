from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path

from lit_privq.artifacts.measures import Change, OwnChange
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.choice import allowed, section
from lit_privq.report.view import View


def costing(seen: View, lows: dict[str, float]) -> View:
    """The view where accuracy is lost by these variants alone, as far as the given lower ends."""
    costs = {
        Key(variant, "accuracy"): Change(low / 2, low, 0.0, 0.5, 0.5, "unclear", "unclear")
        for variant in seen.results.variants
        if (low := lows.get(variant.name, -0.9))
    }
    return replace(seen, measures=replace(seen.measures, changes=seen.measures.changes | costs))


def full(view: View) -> Variant:
    found = view.results.full_precision
    assert found is not None
    return found


def test_a_budget_holds_the_whole_interval_of_the_loss_and_not_its_mean_alone(seen: View) -> None:
    view = costing(seen, {"adaround-4": -0.009, "adaround-2": -0.015})
    names = {budget: [v.name for v in allowed(view, full(view), budget)] for budget in (0.01, 0.02)}
    assert names == {0.01: ["none-32", "adaround-4"], 0.02: ["none-32", "adaround-4", "adaround-2"]}


def test_a_compressed_model_of_a_worse_recipe_is_not_chosen_for_losing_nothing_from_its_own_parent(
    made_up: Callable[..., Path],
) -> None:
    accuracy = {"none-32": 0.9, "obc-4": 0.9, "none-32@narrow": 0.7, "obc-4@narrow": 0.7, "none-32@wide": 0.92}
    leaks = {"none-32": 0.3, "obc-4": 0.28, "none-32@narrow": 0.1, "obc-4@narrow": 0.09, "none-32@wide": 0.2}
    near = [0.001, 0.0, -0.001]
    folder = made_up(*({n: [v + d for d in near] for n, v in each.items()} for each in (leaks, accuracy)))
    view = read_inputs(folder)[0]
    assert [v.name for v in allowed(view, full(view), 0.02)] == ["none-32", "obc-4", "none-32@wide"]


def test_the_least_leakage_within_the_budget_is_chosen_with_its_precision_at_each_prior(seen: View) -> None:
    view = costing(seen, {"adaround-4": -0.009, "adaround-2": -0.015})
    found = section(view, Inputs())
    assert found is not None
    table = found.values["table"]
    assert table.heads[-3:] == tuple(f"PPV if 1 in {n} is a member" for n in (2, 10, 100))
    two = next(row for row in table.rows if row.name == "at most 2 points")
    assert two.cells[0].text == view.label(Variant("adaround", 2, 2))
    assert [cell.text for cell in two.cells[-3:]] == ["90\xa0%", "50\xa0%", "–"]


def test_the_worst_case_is_chosen_by_the_area_and_not_by_the_rate_that_depends_on_the_attacker(
    made_up: Callable[..., Path],
) -> None:
    useful = {name: [0.9, 0.9, 0.9, 0.9] for name in ("none-32", "obc-2")}
    rates = {"none-32": [0.30, 0.31, 0.32, 0.33], "obc-2": [0.40, 0.41, 0.42, 0.43]}
    areas = {"none-32": [0.90, 0.91, 0.92, 0.93], "obc-2": [0.80, 0.81, 0.82, 0.83]}
    view, _ = read_inputs(made_up(rates, useful, slices={"canaries": rates}, areas={"canaries": areas}))
    found = section(view, Inputs())
    assert found is not None
    first = found.values["table"].rows[0]
    assert first.cells[0].text == "Full precision"
    assert (first.cells[1].text, first.cells[1].note) == ("obc 2\xa0bits", "AUC 0.815, accuracy 0.0")


def test_full_precision_is_shipped_where_no_other_model_stays_within_the_budget(seen: View) -> None:
    found = section(costing(seen, {}), Inputs())
    assert found is not None
    assert {row.cells[0].text for row in found.values["table"].rows} == {"Full precision"}


def test_a_model_that_only_guesses_is_never_shipped(seen: View) -> None:
    view = costing(seen, {"adaround-2": -0.001})
    view = replace(view, measures=replace(view.measures, focus=replace(view.focus, guessing=("adaround-2",))))
    assert [v.name for v in allowed(view, full(view), 0.05)] == ["none-32"]


def test_one_target_is_judged_by_the_interval_of_its_own_examples(seen: View) -> None:
    own = {"adaround-4": -0.009, "adaround-2": -0.03}
    view = costing(seen, {})
    for name, low in own.items():
        each = (OwnChange(16, low / 2, low, 0.0, "unclear"),)
        cost = Change(low / 2, nan, nan, nan, nan, "untested", "untested", each)
        view.measures.changes[Key(Variant.parse(name), "accuracy")] = cost
    assert [v.name for v in allowed(view, full(view), 0.02)] == ["none-32", "adaround-4"]
