from __future__ import annotations

import math
import sys
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lit_privq.metrics import auc, bootstrap, interval, resample, roc, tpr_at_fpr
from lit_privq.metrics.roc import Floats

TPR = partial(tpr_at_fpr, max_fpr=0.05)


def simulated(random: np.random.Generator, size: int = 400, gap: float = 1.0) -> tuple[Floats, NDArray[np.bool_]]:
    members = np.arange(size) < size // 2
    return random.normal(size=size) + gap * members, members


def test_every_resample_draws_as_many_members_and_others_as_there_are() -> None:
    members = np.arange(700) < 300
    drawn = resample(members, 50, seed=1)
    assert (drawn.inside.sum(axis=1, dtype=int) == 300).all()
    assert (drawn.outside.sum(axis=1, dtype=int) == 400).all()


@pytest.mark.parametrize("size", [40, 1000])
def test_counts_are_those_of_drawing_with_replacement(size: int) -> None:
    drawn = resample(np.arange(2 * size) < size, 4000, seed=2).inside
    for count in range(5):
        chance = math.comb(size, count) * (1 / size) ** count * (1 - 1 / size) ** (size - count)
        share = (drawn == count).mean()
        assert share == pytest.approx(
            chance, abs=6 * math.sqrt(chance / drawn.size) + 3e-5
        )  # counts are good to 16 bits


def test_weights_give_what_the_resampled_examples_give() -> None:
    random = np.random.default_rng(3)
    scores, members = simulated(random)
    scores = np.round(scores, 1)  # ties
    drawn = resample(members, 20, seed=4)
    fast = bootstrap(scores, drawn, {"auc": auc, "tpr": TPR})
    for row, (inside, outside) in enumerate(zip(drawn.inside, drawn.outside, strict=True)):
        again = np.concatenate([np.repeat(scores[members], inside), np.repeat(scores[~members], outside)])
        curve = roc(again, np.arange(400) < 200)
        assert fast["auc"][row] == pytest.approx(float(auc(curve)))
        assert fast["tpr"][row] == pytest.approx(float(TPR(curve)))


def test_the_same_seed_pairs_two_attacks() -> None:
    scores, members = simulated(np.random.default_rng(5))
    drawn = resample(members, 200, seed=6)
    one, other = (bootstrap(values, drawn, {"auc": auc})["auc"] for values in (scores, scores**3))
    np.testing.assert_array_equal(one, other)  # the same order, the same resamples: no difference at all


def test_the_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, members = simulated(np.random.default_rng(7))
    drawn = resample(members, 30)
    whole = bootstrap(scores, drawn, {"auc": auc})["auc"]
    monkeypatch.setattr(sys.modules["lit_privq.metrics.bootstrap"], "_BATCH", 1)  # the function hides its module
    np.testing.assert_array_equal(bootstrap(scores, drawn, {"auc": auc})["auc"], whole)


def test_a_rate_that_cannot_be_measured_has_no_interval() -> None:
    scores, members = simulated(np.random.default_rng(8))
    values = bootstrap(scores, resample(members, 5), {"tpr": partial(tpr_at_fpr, max_fpr=0.001)})["tpr"]
    assert np.isnan(interval(values)).all()


def covered(low: float, value: float, high: float) -> bool:
    return low <= value <= high


def test_intervals_of_one_target_cover_the_truth_19_times_in_20() -> None:
    random = np.random.default_rng(9)
    truths = {"auc": float(ndtr(1 / math.sqrt(2))), "tpr": float(1 - ndtr(ndtri(0.95) - 1))}
    hits = {"auc": 0, "tpr": 0}
    for seed in range(600):
        scores, members = simulated(random)
        for name, values in bootstrap(scores, resample(members, 200, seed), {"auc": auc, "tpr": TPR}).items():
            hits[name] += covered(interval(values)[0], truths[name], interval(values)[1])
    for count in hits.values():
        assert 0.93 - 0.02 < count / 600 < 0.97 + 0.02  # two standard errors of 600 trials


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 resamples"):
        resample(np.array([True, False]), 1)
    with pytest.raises(ValueError, match="members and non-members"):
        resample(np.array([True, True]))


def test_replicates_that_do_not_differ_give_no_interval() -> None:
    members = np.arange(60) < 30
    perfect = bootstrap(members * 1.0, resample(members, 50), {"auc": auc})["auc"]
    assert np.isnan(interval(perfect)).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_integer_scores_are_resampled_as_floats_are(kind: type) -> None:
    random = np.random.default_rng(0)
    members = np.arange(200) < 100
    scores = random.integers(0, 100, size=200) + 20 * members
    drawn = resample(members, 20)
    expected = bootstrap(scores.astype(float), drawn, {"auc": auc})["auc"]
    np.testing.assert_array_equal(bootstrap(scores.astype(kind), drawn, {"auc": auc})["auc"], expected)
