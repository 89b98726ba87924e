from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from lit_privq.attacks import (
    Attack,
    LiRAJoint,
    LiRAOffline,
    LiRAOfflineOneSided,
    LiRAOnline,
    Observed,
    PerExample,
    Pooled,
    PooledSeparate,
    Residual,
    RMIAOffline,
    RMIAOnline,
    Shrunk,
    ShrunkStudent,
    Variance,
    score_held_out,
    score_leave_one_out,
)
from lit_privq.attacks.group import Centre

Make = Callable[..., Observed]

KINDS: dict[str, Callable[..., Attack]] = {
    "online": LiRAOnline,
    "offline": LiRAOffline,
    "one_sided": LiRAOfflineOneSided,
}


def test_no_prior_strength_is_per_example_and_infinite_strength_is_fixed(make: Make) -> None:
    models = make(10, 30, 2)
    pairs = [(Shrunk(0), PerExample(ddof=1)), (Shrunk(math.inf), Residual()), (ShrunkStudent(math.inf), Residual())]
    for shrunk, plain in pairs:
        for kind in KINDS.values():
            scores = score_leave_one_out({"a": kind(variance=shrunk), "b": kind(variance=plain)}, models)
            np.testing.assert_allclose(scores["a"], scores["b"], rtol=1e-10)


def test_one_sided_scores_tell_39_from_40_deviations_on_both_sides() -> None:
    members = np.array([[True], [True], [False], [False], [True], [True], [True], [True]])
    values = np.array([5.0, 6.0, -1.0, 1.0, 39.0, 40.0, -39.0, -40.0]).reshape(8, 1, 1)
    models = Observed(values, members)
    scores = score_held_out(
        {"a": LiRAOfflineOneSided(variance=PerExample())}, models.models(range(4)), models.models(range(4, 8))
    )
    far, farther, low, lower = scores["a"][:, 0]
    assert np.isfinite(scores["a"]).all()
    assert farther > far > 0 > low > lower
    assert low == -far


@pytest.mark.parametrize("variance", [PerExample(), Residual(), Shrunk(), ShrunkStudent(), ShrunkStudent(48.0)])
def test_one_sided_scores_stay_finite_and_in_order_a_billion_deviations_out(variance: Variance) -> None:
    far = np.array([0.0, 1.0, 30.0, 40.0, 1e4, 1e6, 1e9])
    steps = np.concatenate([-far[:0:-1], far])
    values = np.concatenate([[5.0, 6.0, 7.0, -1.0, 0.0, 1.0], steps]).reshape(-1, 1, 1)
    models = Observed(values, np.arange(len(values))[:, None] < 3)
    shadows, targets = models.models(range(6)), models.models(range(6, len(values)))
    scores = score_held_out({"a": LiRAOfflineOneSided(variance=variance)}, shadows, targets)["a"][:, 0]
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()
    assert (np.diff(scores[3:10]) > 0).all()  # from -40 to 40


@pytest.mark.parametrize("centre", ["median", "mean"])
@pytest.mark.parametrize("variance", [PerExample(), Pooled(), PooledSeparate(), Residual(), Shrunk(), ShrunkStudent()])
def test_a_constant_added_to_all_confidences_changes_nothing(variance: Variance, centre: Centre, make: Make) -> None:
    models = make(9, 60, 2)
    near = np.round(np.asarray(models.confidence, np.float64) * 2**20) / 2**20  # exact after the shift too
    one, other = (Observed(near + shift, models.members) for shift in (0, 1e5))
    attacks = {kind.__name__: kind(centre, variance) for kind in (LiRAOnline, LiRAOffline, LiRAOfflineOneSided)}
    for seen in (score_leave_one_out, lambda a, o: score_held_out(a, o.models(range(7)), o.models([7, 8]))):
        before, after = seen(attacks, one), seen(attacks, other)
        for name in attacks:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-9)  # means round at 1e5


def test_pooled_separate_takes_each_group_s_own_spread() -> None:
    values = np.array([0.0, 2.0, 0.0, 20.0, 5.0]).reshape(5, 1, 1)
    models = Observed(values, np.array([[True], [True], [False], [False], [True]]))
    shadows, target = models.models(range(4)), models.models([4])
    attacks = {"separate": LiRAOnline(variance=PooledSeparate()), "pooled": LiRAOnline(variance=Pooled())}
    scores = score_held_out(attacks, shadows, target)
    assert scores["separate"][0, 0] == pytest.approx(norm.logpdf(5, 1, 1) - norm.logpdf(5, 10, 10))
    assert scores["pooled"][0, 0] == pytest.approx(norm.logpdf(5, 1, 1) - norm.logpdf(5, 10, 1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LiRAOnline(centre="mode"), "centre must be median or mean; got 'mode'"),
        (lambda: LiRAOffline(centre="Mean"), "centre must be median or mean; got 'Mean'"),
        (lambda: LiRAOfflineOneSided(centre=""), "centre must be median or mean; got ''"),
        (lambda: LiRAJoint(centre="mode"), "centre must be median or mean; got 'mode'"),
        (lambda: LiRAJoint(variance=PerExample()), "takes Residual or Shrunk variances; got PerExample"),
        (lambda: PerExample(ddof=-1), "ddof .* must be at least 0; got -1"),
        (lambda: Shrunk(-1.0), r"strength .* must be at least 0; got -1\.0"),
        (lambda: ShrunkStudent(math.nan), "strength .* must be at least 0; got nan"),
        (lambda: RMIAOnline(gamma=0.0), r"gamma is a factor above 0, 1 is usual; got 0\.0"),
        (lambda: RMIAOnline(temperature=0), "temperature .* above 0, 2 is usual; got 0; leave"),
        (lambda: RMIAOffline(temperature=-2.0), r"temperature .* above 0, 2 is usual; got -2\.0; leave"),
        (lambda: RMIAOffline(a=3), r"must lie in \[0, 1\], 0\.3 is usual; got 3"),
        (lambda: RMIAOffline(a=math.nan), r"must lie in \[0, 1\], 0\.3 is usual; got nan"),
    ],
)
def test_options_without_meaning_are_refused(wrong: Callable[[], Attack | Variance], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
