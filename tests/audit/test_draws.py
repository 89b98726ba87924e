from __future__ import annotations

from math import isnan
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.measures import Measures, read_measures, write_measures
from lit_privq.artifacts.results import Key, Result, Results, gather
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.audit.draws import runs, with_draws
from lit_privq.audit.measure import Measure, PerTarget
from lit_privq.audit.summary import Summary

RATE, ATTACK = "tpr_at_0.01", "lira_online_fixed"
TERNARY = Variant("brecq", 1.58, 1.58)


def audited(values: np.ndarray, targets: int = 32) -> tuple[Measures, Results]:  # type: ignore[type-arg]
    """An audit of targets quantized several times, leakage and accuracy as given, (targets, repeats)."""
    summary, rows = Summary([0.01]), []
    columns = [(FULL_PRECISION, np.full(targets, 0.2))]
    columns += [(Variant("brecq", 1.58, 1.58, repeat=r), values[:, r]) for r in range(values.shape[1])]
    for variant, column in columns:
        index = range(targets)
        if not variant.repeat:
            summary.add_utility(variant, index, {Measure("accuracy"): PerTarget(1 - column)}, {"accuracy": 0.1})
            summary.add(variant, "unaware", index, {ATTACK: {Measure(RATE): PerTarget(column)}})
        for target, value in enumerate(column.tolist()):
            rows.append(Result("digits", "net", variant, target, "", "", "accuracy", 1 - value))
            rows.append(Result("digits", "net", variant, target, "unaware", ATTACK, RATE, value))
    results = gather(rows)
    return with_draws(summary.measures({}, results, {}), results), results


def nested(training: float, calibration: float, seed: float, targets: int = 32) -> np.ndarray:  # type: ignore[type-arg]
    """Runs on two draws with two seeds each."""
    random = np.random.default_rng(0)
    effects = random.normal(0, training, (targets, 1, 1)) + random.normal(0, calibration, (targets, 2, 1))
    return (0.1 + effects + random.normal(0, seed, (targets, 2, 2))).reshape(targets, 4)


def test_what_runs_differ_by_is_told_apart() -> None:
    accuracy, leakage = audited(nested(0.02, 0.01, 0.002))[0].draws
    assert (accuracy.metric, leakage.metric, leakage.targets, leakage.repeats) == ("accuracy", RATE, 32, 4)
    for found, truth in ((leakage.training, 0.02), (leakage.calibration, 0.01), (leakage.seed, 0.002)):
        assert found.low < truth < found.high
        assert found.value == pytest.approx(truth, rel=0.35)
    assert accuracy.seed.value == pytest.approx(leakage.seed.value), "1 less the other here"


def test_two_clusters_are_found_and_one_is_not_taken_for_two() -> None:
    one = audited(nested(0.0, 0.0, 0.01))[0].draws[1]
    two = audited(nested(0.0, 0.0, 0.01) + 0.1 * (np.arange(32) % 2)[:, None])[0].draws[1]
    assert two.dip_p < 0.01
    assert one.dip_p > 0.05


def test_runs_that_agree_because_they_share_a_target_are_not_taken_for_clusters() -> None:
    random, found = np.random.default_rng(0), []
    for _ in range(40):
        targets = 0.1 + random.normal(0, 0.01, (24, 1))
        found.append(audited(np.repeat(targets, 4, axis=1), targets=24)[0].draws[1].dip_p)
    assert np.mean(np.array(found) < 0.05) <= 0.05


def test_two_repeats_share_their_calibration_set_which_then_stays_unknown() -> None:
    found = audited(nested(0.02, 0.0, 0.01)[:, :2])[0].draws[1]
    assert isnan(found.calibration.value)
    assert found.seed.value == pytest.approx(0.01, rel=0.4)


def test_without_repeats_nothing_is_said() -> None:
    assert audited(nested(0.02, 0.01, 0.01)[:, :1])[0].draws == ()


def test_repeats_are_no_variants_of_their_own() -> None:
    measures, results = audited(nested(0.02, 0.01, 0.01))
    assert [variant.name for variant in results.variants] == ["none-32", "brecq-1.58"]
    assert [variant.name for variant in results.repeats] == ["brecq-1.58~1", "brecq-1.58~2", "brecq-1.58~3"]
    assert [one.variant for one in measures.draws] == 2 * ["brecq-1.58"]


def test_runs_stand_in_the_order_of_repeats() -> None:
    values = nested(0.02, 0.01, 0.01)
    found = runs(audited(values)[1], Key(TERNARY, RATE, "unaware", ATTACK))
    np.testing.assert_array_equal(found, values)


def test_draws_are_read_back_with_the_names_of_repeats(tmp_path: Path) -> None:
    measures, results = audited(nested(0.02, 0.01, 0.01))
    write_measures(tmp_path / "metrics.json", measures)
    assert read_measures(tmp_path / "metrics.json", results).draws == measures.draws
