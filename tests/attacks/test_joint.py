from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lit_privq.attacks import LiRAJoint, Observed, Residual, Shrunk, score_held_out, score_leave_one_out

Make = Callable[..., Observed]


def versions_of(models: Observed, count: int) -> list[Observed]:
    """The models, and noisier versions of them."""
    noise = np.random.default_rng(5).normal(size=(count, *np.shape(models.confidence)))
    return [models, *(Observed(np.asarray(models.confidence) + 0.7 * each, models.members) for each in noise)]


def test_a_version_that_repeats_another_adds_nothing_infinite(make: Make) -> None:
    models = make(8, 30, 1)
    for versions in ([(models, None)], [(models, None)] * 3):
        assert np.isfinite(score_leave_one_out({"a": LiRAJoint()}, models, versions=versions)["a"]).all()


def test_a_version_that_repeats_another_changes_no_score(make: Make) -> None:
    one, other = versions_of(make(12, 40, 2), 1)
    pair = score_leave_one_out({"a": LiRAJoint()}, one, versions=[(other, None)])["a"]
    again = score_leave_one_out({"a": LiRAJoint()}, one, versions=[(other, None), (one, None)])["a"]
    np.testing.assert_allclose(again, pair, rtol=1e-9, atol=1e-9)


def test_the_joint_attack_refuses_to_run_on_one_version(make: Make) -> None:
    with pytest.raises(ValueError, match="needs another version of targets and shadows"):
        score_leave_one_out({"a": LiRAJoint()}, make())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("variance", [Residual(float("inf")), Shrunk(4.0, float("inf"))], ids=["residual", "shrunk"])
def test_the_score_is_that_of_gaussians_in_as_many_dimensions(make: Make, count: int, variance: Residual) -> None:
    versions = versions_of(make(9, 25, 1, spare=1), count)
    models, members = versions[0], versions[0].members
    shadows, target = range(9), [9]
    others = [(each.models(shadows), each.models(target)) for each in versions[1:]]
    attack = LiRAJoint("mean", variance)
    found = score_held_out({"a": attack}, models.models(shadows), models.models(target), versions=others)["a"][0]
    values = np.stack([np.asarray(each.confidence)[..., 0] for each in versions], -1)  # (models, examples, versions)
    expected = np.zeros(25)
    for sign, inside in ((1, True), (-1, False)):
        groups = [values[:9][members[:9, j] == inside, j] for j in range(25)]
        off = [group - group.mean(0) for group in groups]
        pooled = sum(each.T @ each for each in off) / sum(map(len, off))
        for j, (group, each) in enumerate(zip(groups, off, strict=True)):
            covariance = pooled
            if isinstance(variance, Shrunk):
                covariance = (variance.strength * pooled + each.T @ each) / (variance.strength + len(group) - 1)
            expected[j] += sign * multivariate_normal(group.mean(0), covariance).logpdf(values[9, j])
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
