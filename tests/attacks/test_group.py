from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from lit_privq.attacks import (
    BASE,
    LiRAJoint,
    LiRAOffline,
    LiRAOnline,
    Observed,
    PerExample,
    Pooled,
    Residual,
    Shrunk,
    ShrunkStudent,
    Variance,
    score_held_out,
    score_leave_one_out,
)
from lit_privq.attacks.evidence import Trial
from lit_privq.attacks.group import capped_mean

Make = Callable[..., Observed]


def test_the_pooled_variance_keeps_its_digits_far_from_zero(make: Make) -> None:
    models = make(8, 60, 2)
    near = np.round(np.asarray(models.confidence, np.float64) * 2**20) / 2**20
    attack = {"a": LiRAOffline(variance=Pooled())}
    scores = [score_leave_one_out(attack, Observed(near + shift, models.members))["a"] for shift in (0, 1e5)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-12)


def test_equal_confidences_leave_a_deviation_of_zero_not_rounding_noise() -> None:
    members = np.array([[True], [True], [True], [False], [False], [False]])
    values = np.array([0.1, 0.1, 7.0, 1.0, 2.0, 3.0]).reshape(6, 1, 1)
    scores = score_leave_one_out({"a": LiRAOnline(variance=PerExample())}, Observed(values, members), [2])["a"]
    assert scores[0, 0] < -1e50  # two equal IN values, the third far off: as the plain formula with 1e-30 says


def test_one_value_far_off_costs_the_others_no_digits() -> None:
    values = np.array([1e-9, 2e-9, 4e-9, 1e9, 1.0, 2.0, 3.0, 4.0]).reshape(8, 1, 1)
    models = Observed(values, np.arange(8)[:, None] < 4)
    attack = {"a": LiRAOnline(variance=PerExample()), "base": BASE()}
    loo = score_leave_one_out(attack, models, [3])
    held = score_held_out(attack, models.models([0, 1, 2, 4, 5, 6, 7]), models.models([3]))
    for name in attack:
        np.testing.assert_allclose(loo[name], held[name], rtol=1e-9)


def spoiled(models: Observed, value: float = 1e4, *, model: int = 3, example: int = 7) -> Observed:
    """The same models but for one absurd confidence."""
    confidence = np.array(models.confidence)
    confidence[model, example] = value
    return Observed(confidence, models.members)


@pytest.mark.parametrize("value", [1e4, -1e4, 1e30])
@pytest.mark.parametrize("variance", [Residual(), Shrunk(), ShrunkStudent()])
def test_one_absurd_confidence_of_a_shadow_changes_no_other_example_much(
    variance: Variance, value: float, make: Make
) -> None:
    models = make(8, 400, 1, spare=2)
    clean, dirty = (
        score_held_out({"a": LiRAOnline(variance=variance)}, each.models(range(8)), each.models([8, 9]))["a"]
        for each in (models, spoiled(models, value))
    )
    others = np.arange(400) != 7
    assert np.corrcoef(dirty[0, others], clean[0, others])[0, 1] > 0.995  # the IN variance rises by 7 % of itself


@pytest.mark.parametrize("value", [1e4, 1e30])
def test_one_absurd_confidence_raises_the_residual_variance_by_no_more_than_its_bound(value: float, make: Make) -> None:
    models = make(8, 400, 1)
    for inside in (True, False):
        clean, dirty = (variance_of(each, inside, 25.0) for each in (models, spoiled(models, value)))
        assert clean * 0.99 < dirty < clean / (1 - 25 / 400)
    assert variance_of(spoiled(models, value), bool(models.members[3, 7]), math.inf) > 1000


def variance_of(models: Observed, inside: bool, cap: float) -> float:
    sizes = models.members.sum(axis=0), (~models.members).sum(axis=0)
    return Trial(models, models, None, *sizes).population(inside, 1.0).residual("median", cap).item()


def test_one_absurd_confidence_leaves_the_paired_attack_its_other_examples(make: Make) -> None:
    models = make(8, 400, 1, spare=2)
    noise = np.random.default_rng(5).normal(size=(10, 400, 1))
    parent = Observed(np.asarray(models.confidence) + 0.5 * noise, models.members)
    scores = []
    for child, above in ((models, parent), (spoiled(models), parent), (models, spoiled(parent))):
        parents = above.models(range(8)), above.models([8, 9])
        scores.append(
            score_held_out({"a": LiRAJoint()}, child.models(range(8)), child.models([8, 9]), versions=[parents])
        )
    others = np.arange(400) != 7
    for dirty in scores[1:]:
        assert np.corrcoef(dirty["a"][0, others], scores[0]["a"][0, others])[0, 1] > 0.98


def test_the_reference_s_pooled_variance_is_what_one_absurd_confidence_makes_it(make: Make) -> None:
    models = spoiled(make(8, 400, 1, spare=2))
    scores = score_held_out({"a": LiRAOffline(variance=Pooled())}, models.models(range(8)), models.models([8, 9]))
    shadows, out = np.float64(models.confidence)[:8, :, 0], ~models.members[:8]
    centre = np.array([np.median(shadows[out[:, j], j]) for j in range(400)])
    deviation = shadows[out].std()
    np.testing.assert_allclose(
        scores["a"], -norm.logpdf(np.asarray(models.confidence)[8:, :, 0], centre, deviation), rtol=1e-14
    )


def test_the_cap_costs_nothing_where_confidences_are_gaussian() -> None:
    random = np.random.default_rng(0)
    members = np.argsort(random.random((8, 5000)), axis=0) < 4
    models = Observed(random.normal(size=(8, 5000, 2)), members)
    scores = score_leave_one_out({"a": LiRAOnline(), "plain": LiRAOnline(variance=Residual(math.inf))}, models)
    np.testing.assert_array_equal(scores["a"], scores["plain"])


def test_no_share_of_bad_examples_below_the_breakdown_point_raises_the_mean_beyond_its_bound() -> None:
    counts = np.ones(1000, int)
    for bad in (1, 10, 30, 39):
        squares = np.concatenate([np.ones(1000 - bad), np.full(bad, 1e12)])[None]
        mean, bound = capped_mean(squares, counts, 25.0)
        share = bad / 1000
        assert mean[0] == pytest.approx((1 - share) / (1 - 25 * share))
        assert bound[0] == pytest.approx(25 * mean[0])


def test_each_target_has_its_own_bound() -> None:
    squares = np.array([[1.0] * 100, [1.0] * 99 + [1e6], [0.0] * 100])
    means, bounds = capped_mean(squares, np.ones(100, int), 25.0)
    alone = [capped_mean(row[None], np.ones(100, int), 25.0) for row in squares]
    np.testing.assert_array_equal(means, [mean[0] for mean, _ in alone])
    np.testing.assert_array_equal(bounds, [bound[0] for _, bound in alone])
    assert means[0] == 1
    assert means[2] == 0


def test_examples_whose_confidences_are_all_equal_do_not_take_the_others_for_absurd() -> None:
    squares = np.zeros((1, 1000))
    squares[0, :10] = np.linspace(1, 2, 10)  # of a network that is saturated on 99 % of the examples
    mean, bound = capped_mean(squares, np.ones(1000, int), 25.0)
    assert mean[0] == pytest.approx(squares.sum() / 1000)
    assert np.isinf(bound[0])
