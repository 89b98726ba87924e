from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from lit_privq.metrics import Roc, auc, auc_interval, roc
from lit_privq.metrics.auc_interval import delong_variance


def draw(members: int, others: int, gap: float, seed: int) -> Roc:
    """The ROC of members of N(gap, 1) before non-members of N(0, 1)."""
    inside = np.arange(members + others) < members
    return roc(np.random.default_rng(seed).normal(size=inside.size) + gap * inside, inside)


@pytest.mark.parametrize("decimals", [0, 8])
def test_the_variance_is_that_of_shares_of_pairs(decimals: int) -> None:
    members = np.arange(50) < 30
    scores = (np.random.default_rng(0).normal(size=50) + members).round(decimals)
    pairs = scores[members][:, None] - scores[~members]
    won = (pairs > 0) + (pairs == 0) / 2
    expected = won.mean(1).var(ddof=1) / 30 + won.mean(0).var(ddof=1) / 20
    assert delong_variance(roc(scores, members)) == pytest.approx(expected)


def test_the_variance_is_that_of_areas_on_other_examples() -> None:
    curves = [draw(80, 120, 1.0, seed) for seed in range(2000)]
    seen = np.var([auc(curve) for curve in curves])
    assert np.mean([delong_variance(curve) for curve in curves]) == pytest.approx(seen, rel=0.1)


@pytest.mark.parametrize(("members", "others"), [(50, 1), (50, 2), (50, 5), (10, 10), (2, 50), (300, 300)])
@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_the_interval_covers_the_true_area_however_few_the_examples(members: int, others: int, gap: float) -> None:
    truth = ndtr(gap / np.sqrt(2))
    ends = np.array([auc_interval(draw(members, others, gap, seed)) for seed in range(400)])
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert covered >= 0.93 - 0.022  # two standard errors of 400 trials


@pytest.mark.parametrize(("members", "others"), [(2, 2), (1, 5), (5, 1)])
def test_perfect_separation_of_few_examples_leaves_room_below(members: int, others: int) -> None:
    low, high = auc_interval(roc(np.arange(float(members + others)), np.arange(members + others) >= others))
    assert low < 0.6
    assert high == 1.0


def test_the_interval_narrows_as_the_root_of_the_examples() -> None:
    widths = [np.subtract(*auc_interval(draw(size, size, 1.0, 3))[::-1]) for size in (500, 50_000)]
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.05)
