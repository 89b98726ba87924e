from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.measures import Measures, read_measures, write_measures
from lit_privq.artifacts.results import Result, Results, gather
from lit_privq.artifacts.variant import Variant
from lit_privq.audit.fronts import at_equal_accuracy
from lit_privq.audit.measure import Measure, PerTarget
from lit_privq.audit.summary import Summary

RATE, ATTACK = "tpr_at_0.01", "lira_online_fixed"
FAMILIES = {"default": "Stopped early", "short": "Stopped early", "dp_low": "DP-SGD", "dp_high": "DP-SGD"}
PLACES = {
    "none-32": (0.95, 0.10), "none-32@short": (0.90, 0.05),
    "none-32@dp_low": (0.96, 0.08), "none-32@dp_high": (0.92, 0.02), "none-32@smooth": (0.95, 0.2),
    "obc-2": (0.94, 0.06), "obc-1.58": (0.93, 0.04), "obc-1": (0.11, 0.01), "obc-2~1": (0.94, 0.07),
}  # fmt: skip


def concluded(
    places: dict[str, tuple[float, float]], targets: Sequence[int] = (8, 9, 10, 11)
) -> tuple[Measures, Results]:
    """An audit of models at these accuracies and leakages, each target's a little other."""
    random, summary, rows = np.random.default_rng(0), Summary([0.01]), []
    for name, (accuracy, leakage) in places.items():
        variant = Variant.parse(name)
        right = accuracy + random.normal(0, 1e-3, len(targets))
        rates = leakage + random.normal(0, 1e-3, len(targets))
        if not variant.repeat:
            summary.add_utility(variant, targets, {Measure("accuracy"): PerTarget(right)}, {"accuracy": 0.1})
            summary.add(variant, "unaware", targets, {ATTACK: {Measure(RATE): PerTarget(rates)}})
        for target, one, rate in zip(targets, right.tolist(), rates.tolist(), strict=True):
            rows.append(Result("digits", "net", variant, target, "", "", "accuracy", one))
            rows.append(Result("digits", "net", variant, target, "unaware", ATTACK, RATE, rate))
    results = gather(rows)
    return at_equal_accuracy(summary.measures({}, results, {}), results, FAMILIES), results


def test_families_of_recipes_and_methods_with_their_parents_are_rivals() -> None:
    fronts = {front.rival: front.points for front in concluded(PLACES)[0].fronts}
    assert fronts == {
        "Stopped early": ("none-32@short", "none-32"),
        "DP-SGD": ("none-32@dp_high", "none-32@dp_low"),
        "smooth": ("none-32@smooth",),
        "obc": ("obc-1.58", "obc-2", "none-32"),
    }


def test_a_recipe_of_a_methods_name_is_another_rival() -> None:
    places = {**PLACES, "none-32@obc": (0.97, 0.01)}
    fronts = {front.rival: front.points for front in concluded(places)[0].fronts}
    assert fronts["obc as a recipe"] == ("none-32@obc",)
    assert fronts["obc"] == ("obc-1.58", "obc-2", "none-32")


def test_guessing_models_and_repeats_are_no_points_and_not_compared() -> None:
    measures, _ = concluded(PLACES)
    assert {one.variant for one in measures.at_equal_accuracy} == {"obc-2", "obc-1.58"}


def test_a_quantized_variant_is_compared_with_every_front_of_two_points_but_its_own() -> None:
    measures, _ = concluded(PLACES)
    assert {one.rival for one in measures.at_equal_accuracy} == {"Stopped early", "DP-SGD"}
    beside = {(one.variant, one.rival): one for one in measures.at_equal_accuracy}
    early, private = beside["obc-2", "Stopped early"], beside["obc-2", "DP-SGD"]
    assert (early.place, early.change.verdict) == ("inside", "lower")
    assert (private.place, private.change.verdict) == ("inside", "higher")
    assert early.change.value == pytest.approx(0.06 - early.leakage, abs=2e-3)
    assert early.change.holm >= early.change.p


def test_what_lies_outside_of_a_range_is_said_and_not_compared() -> None:
    measures, _ = concluded({**PLACES, "obc-1.58": (0.85, 0.04)})
    (one,) = (one for one in measures.at_equal_accuracy if (one.variant, one.rival) == ("obc-1.58", "DP-SGD"))
    assert one.place == "below"
    assert one.change.verdict == "untested"
    assert isnan(one.change.value)


def test_dominated_models_make_no_front() -> None:
    measures, _ = concluded({**PLACES, "none-32@dp_high": (0.91, 0.09)})
    (front,) = (front for front in measures.fronts if front.rival == "DP-SGD")
    assert (front.points, front.dominated) == (("none-32@dp_low",), ("none-32@dp_high",))


def test_a_study_of_one_recipe_has_no_rivals() -> None:
    one = {name: place for name, place in PLACES.items() if "@" not in name}
    measures, _ = concluded(one)
    assert (measures.fronts, measures.at_equal_accuracy) == ((), ())


def test_one_target_is_compared_without_a_verdict() -> None:
    measures, _ = concluded(PLACES, targets=(8,))
    found = [one.change for one in measures.at_equal_accuracy if one.place == "inside"]
    assert found
    assert {change.verdict for change in found} == {"untested"}


def test_a_variant_that_was_not_measured_on_every_target_has_no_place() -> None:
    measures, results = concluded(PLACES)
    holes = {
        key: {
            target: cell._replace(value=nan) if key.variant.name == "obc-2" and target == 9 else cell
            for target, cell in cells.items()
        }
        for key, cells in results.series.items()
    }
    again = at_equal_accuracy(measures, Results(results.dataset, results.nets, holes), FAMILIES)
    assert {one.variant for one in again.at_equal_accuracy} == {"obc-1.58"}


def test_fronts_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    measures, results = concluded(PLACES)
    write_measures(tmp_path / "metrics.json", measures)
    read = read_measures(tmp_path / "metrics.json", results)
    assert repr(read.fronts) == repr(measures.fronts)
    assert repr(read.at_equal_accuracy) == repr(measures.at_equal_accuracy)
