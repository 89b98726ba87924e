from __future__ import annotations

import math

import numpy as np
import pytest

from lit_privq.metrics import (
    auc,
    best_balanced_accuracy,
    fpr_reached,
    log_auroc,
    ranked,
    roc,
    semilog_auroc,
    tpr_at_fpr,
)
from lit_privq.metrics.roc import Roc, allowed_false_positives


def random_guessing(n: int = 40000) -> Roc:
    random = np.random.default_rng(0)
    return roc(random.normal(size=n), random.random(n) < 0.5)


def perfect(n: int = 4000) -> Roc:
    return roc(np.arange(n, dtype=float), np.arange(n) >= n // 2)


def test_the_roc_of_four_scores_by_hand() -> None:
    curve = roc(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    assert curve.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.1]
    assert auc(curve) == 0.75


def test_ties_form_one_step_whatever_their_order() -> None:
    scores, members = np.array([1.0, 1.0, 0.0]), np.array([True, False, False])
    one, other = roc(scores, members), roc(scores[[1, 0, 2]], members[[1, 0, 2]])
    assert one.tpr.tolist() == other.tpr.tolist() == [0, 1, 1]
    assert one.fpr.tolist() == other.fpr.tolist() == [0, 0.5, 1]
    assert auc(one) == 0.75


def test_auc_counts_pairs() -> None:
    random = np.random.default_rng(1)
    scores, members = random.integers(9, size=300).astype(float), random.random(300) < 0.3
    gaps = scores[members][:, None] - scores[~members]
    assert auc(roc(scores, members)) == pytest.approx((gaps > 0).mean() + (gaps == 0).mean() / 2)


def test_a_perfect_attack_reaches_one_and_a_coin_does_not() -> None:
    assert auc(perfect()) == best_balanced_accuracy(perfect()) == tpr_at_fpr(perfect(), 0.01) == 1
    assert auc(random_guessing()) == pytest.approx(0.5, abs=0.01)
    assert tpr_at_fpr(random_guessing(), 0.01) == pytest.approx(0.01, abs=0.003)


def test_scores_far_apart_are_not_rounded_together() -> None:
    scores = np.array([100.0, 101.0, 102.0, -100.0])  # a sigmoid maps the first three to 1
    assert auc(roc(scores, np.array([False, False, True, False]))) == 1


def test_a_monotone_change_of_scores_changes_nothing() -> None:
    random = np.random.default_rng(2)
    scores, members = random.normal(size=500), random.random(500) < 0.5
    one, other = roc(scores, members), roc(np.exp(scores), members)
    for metric in (auc, log_auroc, semilog_auroc, best_balanced_accuracy):
        assert metric(one) == metric(other)


def test_the_bound_itself_is_reached_only_if_inclusive() -> None:
    scores = np.arange(400, 0, -1.0)
    members = np.ones(400, bool)
    members[[10, 20, 30, *range(203, 400)]] = False  # 200 others; the false positives come after 10, 19, 28 members
    curve = roc(scores, members)
    assert tpr_at_fpr(curve, 0.01) == 19 / 200  # one false positive, two would be 1 %
    assert tpr_at_fpr(curve, 0.01, inclusive=True) == 28 / 200


def test_a_bound_below_one_false_positive_says_nothing() -> None:
    assert math.isnan(tpr_at_fpr(perfect(1000), 0.001))
    assert math.isnan(tpr_at_fpr(perfect(2000), 0.001))  # strictly below one of 1000 is none
    assert tpr_at_fpr(perfect(2000), 0.001, inclusive=True) == 1
    assert tpr_at_fpr(perfect(2002), 0.001) == 1


def test_allowed_false_positives_survive_binary_fractions() -> None:
    for n in range(1, 3000):
        strict, inclusive = allowed_false_positives(n, 0.001), allowed_false_positives(n, 0.001, inclusive=True)
        assert (strict, inclusive) == ((n - 1) // 1000, n // 1000)


def test_log_auroc_of_a_coin_is_a_half_and_of_a_perfect_attack_one() -> None:
    assert log_auroc(random_guessing()) == pytest.approx(0.5, abs=0.05)
    assert log_auroc(perfect()) == pytest.approx(1, abs=1e-5)
    assert semilog_auroc(perfect()) == pytest.approx(1)
    assert semilog_auroc(random_guessing()) == pytest.approx((1 - 1e-5) / math.log(1e5), abs=0.005)


def test_log_auroc_of_one_step_by_hand() -> None:
    # TPR 1/2 until FPR 1/2, then 1: two rectangles and no slope
    curve = roc(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False]))
    e = 1e-5
    low, high = math.log10(0.5 + e) + 5, math.log10(1 + e) + 5
    assert log_auroc(curve) == pytest.approx((low * low + high * (high - low)) / 25, rel=1e-9)
    assert semilog_auroc(curve) == pytest.approx((0.5 * math.log(0.5 / e) + math.log(2)) / math.log(1 / e))


def test_semilog_is_exact_on_slopes() -> None:
    scores, members = np.repeat([1.0, 0.0], [2, 2]), np.array([True, False, True, False])
    grid = np.linspace(math.log(1e-5), 0, 200001)
    fpr = np.exp(grid)
    assert semilog_auroc(roc(scores, members)) == pytest.approx(np.trapezoid(fpr, grid) / math.log(1e5), rel=1e-6)


def test_corners_and_hull_keep_the_area() -> None:
    random = np.random.default_rng(3)
    scores, members = random.integers(30, size=500) / 3, random.random(500) < 0.5
    curve = roc(scores + members, members)
    corners = Roc(
        curve.true_positives[curve.corners], curve.false_positives[curve.corners], curve.thresholds[curve.corners]
    )
    assert auc(corners) == pytest.approx(auc(curve))
    hull = curve.hull
    slopes = np.diff(curve.true_positives[hull]) / np.maximum(np.diff(curve.false_positives[hull]), 1e-9)
    assert (np.diff(slopes) < 0).all()
    above = np.interp(curve.false_positives, curve.false_positives[hull], curve.true_positives[hull])
    assert (curve.true_positives[1:] <= above[1:] + 1e-9).all()


@pytest.mark.parametrize(
    ("scores", "members", "message"),
    [
        ([1.0, math.nan], [True, False], "1 of 2 are, the first at example 1"),
        ([1.0, 2.0], [True, True], "got 2 members of 2"),
        ([1.0, 2.0], [2, 0], r"members must be boolean \(or 0 and 1\), .* got int64 with the value 2"),
        ([1.0, 2.0], [True], "must be"),
        ([1j, 2j], [True, False], "must be real numbers"),
        (["high", "low"], [True, False], "must be real numbers"),
    ],
)
def test_bad_scores_are_refused(scores: list[float], members: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        roc(np.array(scores), np.array(members))


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int8, np.int64, np.float16, np.float32, ">f8"])
def test_scores_of_any_number_type_give_the_same_curve(kind: str) -> None:
    values = np.array([0, 1, 1, 2, 100, 127])  # -scores of uint8 would be 0, 255, 255, 254, 156, 129
    members = np.array([False, False, True, True, True, True])
    curve = roc(values.astype(kind), members)
    assert auc(curve) == auc(roc(values.astype(float), members)) == 7.5 / 8
    lowest = np.array([-128, 5], np.int8)  # which has no positive counterpart
    assert auc(roc(lowest, np.array([False, True]))) == 1


def test_scores_may_be_booleans_and_members_zero_and_one() -> None:
    assert auc(roc(np.array([True, False]), np.array([1, 0], np.uint8))) == 1


def test_the_rate_reached_is_that_of_the_point_where_the_true_positive_rate_is_read() -> None:
    scores = np.concatenate([np.full(20, 9.0), np.arange(80) / 100, np.full(30, 9.0), np.arange(70) / 100])
    members = np.arange(200) >= 100  # 20 of 100 non-members share the highest score with 30 members
    curve = roc(scores, members)
    for bound, tpr, fpr in ((0.05, 0.0, 0.0), (0.2, 0.0, 0.0), (0.205, 0.3, 0.2)):
        assert (tpr_at_fpr(curve, bound), fpr_reached(curve, bound)) == (tpr, fpr)
    assert fpr_reached(curve, 0.2, inclusive=True) == 0.2
    assert np.isnan(fpr_reached(curve, 0.001))


def test_a_bound_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.001 for 0\.1 %"):
        tpr_at_fpr(random_guessing(), 10)


@pytest.mark.parametrize("decimals", [0, 8])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_a_part_of_the_examples_has_the_metrics_of_its_own_curve(decimals: int, share: float) -> None:
    random = np.random.default_rng(4)
    members = random.random(800) < 0.5
    scores = (random.normal(size=800) + members).round(decimals)
    chosen = random.random(800) < share
    seen = ranked(scores, members)
    for own_others, kept in ((False, chosen | ~members), (True, chosen)):
        inside, outside = np.flatnonzero(members & chosen), np.flatnonzero(~members & chosen)
        part, alone = seen.part(inside, outside if own_others else None), roc(scores[kept], members[kept])
        for metric in (auc, best_balanced_accuracy, log_auroc, semilog_auroc, lambda c: tpr_at_fpr(c, 0.05)):
            np.testing.assert_allclose(metric(part), metric(alone), rtol=1e-12)


def test_parts_that_make_up_the_pool_add_up_to_its_counts_at_one_threshold() -> None:
    random = np.random.default_rng(5)
    members, kind = random.random(500) < 0.5, random.integers(3, size=500)
    scores = random.normal(size=500) + members
    seen = ranked(scores, members)
    parts = [seen.part(np.flatnonzero(members & (kind == k))) for k in range(3)]
    hits = [curve.true_positives[curve.false_positives <= 20].max() for curve in (*parts, seen.curve)]
    assert sum(hits[:3]) == hits[3]
