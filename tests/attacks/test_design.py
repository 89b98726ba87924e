from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lit_privq.attacks import (
    LiRAOffline,
    LiRAOnline,
    Observed,
    PerExample,
    score_held_out,
    score_leave_one_out,
)

Make = Callable[..., Observed]


def turned(models: Observed) -> Observed:
    return models.models(range(len(models.members))[::-1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda o: score_leave_one_out({}, o, [0, 1, 2], targets=o.models([0, 1])),
            "targets must be 3 models, .* got 2",
        ),
        (
            lambda o: score_leave_one_out({}, o, [0, 1], targets=o.models([1, 0])),
            "targets must have the members .* 2 of 2",
        ),
        (
            lambda o: score_leave_one_out({}, o, versions=[(turned(o), None)]),
            "shadows must have the members",
        ),
        (
            lambda o: score_leave_one_out({}, o, [0, 1], versions=[(o, o)]),
            "targets must be 2 models, .* got 8",
        ),
        (
            lambda o: score_leave_one_out({}, o, [0, 1], versions=[(o, o.models([0, 2]))]),
            "1 of 2 do not, the first is number 1",
        ),
        (lambda o: score_held_out({}, o, o, versions=[(turned(o), o)]), "versions of shadows must have the members"),
        (lambda o: score_held_out({}, o, o, versions=[(o, turned(o))]), "versions of targets must have the members"),
        (
            lambda o: score_held_out({}, o, o, versions=[(o.models([0]), o)]),
            "shadows must be 8 models, .* got 1",
        ),
        (lambda o: score_held_out({}, o, once(o)), "targets and shadows must be .* as often; .* 1 and 2 queries"),
        (
            lambda o: score_held_out({}, o, o, versions=[(once(o), o)]),
            "and shadows must be .* 1 and 2 queries",
        ),
    ],
)
def test_models_that_do_not_belong_together_are_refused(
    wrong: Callable[[Observed], object], message: str, make: Make
) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(make())


def once(models: Observed) -> Observed:
    return Observed(np.asarray(models.confidence)[..., :1], models.members)


def test_too_few_shadows_are_refused_by_the_attack_s_name(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lira needs at least 2 shadows .* leaves 0 and 0; use more"):
        score_leave_one_out({"lira": LiRAOnline()}, make(2))


def test_a_variance_that_takes_more_than_the_shadows_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lira needs at least 6 shadows .* leaves 3 and 3; use more"):
        score_leave_one_out({"lira": LiRAOffline(variance=PerExample(ddof=5))}, make())
    assert np.isfinite(score_leave_one_out({"lira": LiRAOffline(variance=PerExample(ddof=5))}, make(14))["lira"]).all()


def test_an_example_that_no_shadow_trained_on_is_named(make: Make) -> None:
    models = make()
    members = models.members.copy()
    members[:, 5] = False
    with pytest.raises(ValueError, match="the first is 5, there is none that trained"):
        score_leave_one_out({"lira": LiRAOnline()}, Observed(models.confidence, members))


def test_pools_of_different_size_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="the same examples and as often; got 10 and 60 examples"):
        score_held_out({"lira": LiRAOnline()}, make(), make(examples=10))
