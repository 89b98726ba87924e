from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from lit_privq.metrics import auc, roc
from lit_privq.metrics.delong import Placements, placements


def draw(members: int, others: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, members of N(gap, 1) before non-members of N(0, 1), and membership."""
    inside = np.arange(members + others) < members
    return np.random.default_rng(seed).normal(size=inside.size) + gap * inside, inside


@pytest.mark.parametrize("decimals", [0, 8])
def test_placements_are_shares_of_pairs(decimals: int) -> None:
    scores, members = draw(30, 20, 1.0, 0)
    scores = scores.round(decimals)
    pairs = scores[members][:, None] - scores[~members]
    won = (pairs > 0) + (pairs == 0) / 2
    found = placements(scores, members)
    np.testing.assert_allclose(found.inside, won.mean(1))
    np.testing.assert_allclose(found.outside, won.mean(0))
    assert found.auc == pytest.approx(float(auc(roc(scores, members))))


def test_the_covariance_is_that_of_areas_on_new_examples() -> None:
    rng = np.random.default_rng(1)
    members = np.arange(200) < 80
    areas, predicted = [], []
    for _ in range(2000):
        shared, own, others = rng.normal(size=(3, 200))
        first, second = shared + own + members, shared + others + 0.5 * members
        one, two = placements(first, members), placements(second, members)
        areas.append((one.auc, two.auc))
        predicted.append([one.covariance(one), two.covariance(two), one.covariance(two)])
    seen = np.cov(np.array(areas).T)
    np.testing.assert_allclose(np.mean(predicted, 0), [seen[0, 0], seen[1, 1], seen[0, 1]], rtol=0.12)


@pytest.mark.parametrize(("members", "others"), [(50, 1), (50, 2), (50, 5), (10, 10), (2, 50), (300, 300)])
@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_the_interval_covers_the_true_area_however_few_the_examples(members: int, others: int, gap: float) -> None:
    truth = ndtr(gap / np.sqrt(2))
    ends = np.array([placements(*draw(members, others, gap, seed)).interval() for seed in range(400)])
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert covered >= 0.93 - 0.022  # two standard errors of 400 trials


def test_perfect_separation_leaves_room_below() -> None:
    low, high = placements(np.array([2.0, 3.0, 1.0, 0.0]), np.array([True, True, False, False])).interval()
    assert low < 0.6
    assert high == 1.0


@pytest.mark.parametrize("found", [Placements(np.ones(1), np.ones(5)), Placements(np.ones(5), np.ones(1))])
def test_a_single_example_of_one_kind_has_an_interval_and_no_variance(found: Placements) -> None:
    assert np.isnan(found.covariance(found))
    assert found.interval()[0] < 0.6


def test_the_interval_narrows_as_the_root_of_the_examples() -> None:
    widths = [np.subtract(*placements(*draw(size, size, 1.0, 3)).interval()[::-1]) for size in (500, 50_000)]
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.05)
