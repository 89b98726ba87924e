from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from lit_privq.attacks import (
    BASE,
    Attack,
    LiRAOffline,
    LiRAOfflineOneSided,
    LiRAOnline,
    Observed,
    Paired,
    PerExample,
    Pooled,
    PooledSeparate,
    Residual,
    RMIAOffline,
    RMIAOnline,
    Shrunk,
    ShrunkStudent,
    Variance,
    held_out,
    leave_one_out,
    population_share,
)
from lit_privq.attacks.group import Centre

Make = Callable[..., Observed]

KINDS: dict[str, Callable[..., Attack]] = {
    "online": LiRAOnline,
    "offline": LiRAOffline,
    "one_sided": LiRAOfflineOneSided,
}


def test_the_population_share_counts_pairs() -> None:
    random = np.random.default_rng(0)
    x, z = random.normal(size=40), random.normal(size=30)
    for gamma in (0.5, 1.0, 2.0):
        pairs = np.exp(x)[:, None] / np.exp(z) > gamma
        np.testing.assert_allclose(population_share(x, z, gamma=gamma), pairs.mean(axis=1))
    own = population_share(x, x, gamma=0.5, own=np.ones(40, bool))
    np.testing.assert_allclose(own, [(np.exp(x[i]) / np.exp(np.delete(x, i)) > 0.5).mean() for i in range(40)])


def test_a_parent_that_repeats_the_child_adds_nothing_infinite(make: Make) -> None:
    models = make(8, 30, 1)
    assert np.isfinite(leave_one_out({"a": Paired()}, models, parents=(models, None))["a"]).all()


def test_no_prior_strength_is_per_example_and_infinite_strength_is_fixed(make: Make) -> None:
    models = make(10, 30, 2)
    pairs = [(Shrunk(0), PerExample(ddof=1)), (Shrunk(math.inf), Residual()), (ShrunkStudent(math.inf), Residual())]
    for shrunk, plain in pairs:
        for kind in KINDS.values():
            scores = leave_one_out({"a": kind(variance=shrunk), "b": kind(variance=plain)}, models)
            np.testing.assert_allclose(scores["a"], scores["b"], rtol=1e-10)


def test_one_sided_scores_tell_39_from_40_deviations_on_both_sides() -> None:
    members = np.array([[True], [True], [False], [False], [True], [True], [True], [True]])
    values = np.array([5.0, 6.0, -1.0, 1.0, 39.0, 40.0, -39.0, -40.0]).reshape(8, 1, 1)
    models = Observed(values, members)
    scores = held_out(
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
    scores = held_out({"a": LiRAOfflineOneSided(variance=variance)}, shadows, targets)["a"][:, 0]
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
    for seen in (leave_one_out, lambda a, o: held_out(a, o.models(range(7)), o.models([7, 8]))):
        before, after = seen(attacks, one), seen(attacks, other)
        for name in attacks:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-9)  # means round at 1e5


def test_the_pooled_variance_keeps_its_digits_far_from_zero(make: Make) -> None:
    models = make(8, 60, 2)
    near = np.round(np.asarray(models.confidence, np.float64) * 2**20) / 2**20
    attack = {"a": LiRAOffline(variance=Pooled())}
    scores = [leave_one_out(attack, Observed(near + shift, models.members))["a"] for shift in (0, 1e5)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-12)


def test_equal_confidences_leave_a_deviation_of_zero_not_rounding_noise() -> None:
    members = np.array([[True], [True], [True], [False], [False], [False]])
    values = np.array([0.1, 0.1, 7.0, 1.0, 2.0, 3.0]).reshape(6, 1, 1)
    scores = leave_one_out({"a": LiRAOnline(variance=PerExample())}, Observed(values, members), [2])["a"]
    assert scores[0, 0] < -1e50  # two equal IN values, the third far off: as the plain formula with 1e-30 says


def test_one_value_far_off_costs_the_others_no_digits() -> None:
    values = np.array([1e-9, 2e-9, 4e-9, 1e9, 1.0, 2.0, 3.0, 4.0]).reshape(8, 1, 1)
    models = Observed(values, np.arange(8)[:, None] < 4)
    attack = {"a": LiRAOnline(variance=PerExample()), "base": BASE()}
    loo = leave_one_out(attack, models, [3])
    held = held_out(attack, models.models([0, 1, 2, 4, 5, 6, 7]), models.models([3]))
    for name in attack:
        np.testing.assert_allclose(loo[name], held[name], rtol=1e-9)


def test_pooled_separate_takes_each_group_s_own_spread() -> None:
    values = np.array([0.0, 2.0, 0.0, 20.0, 5.0]).reshape(5, 1, 1)
    models = Observed(values, np.array([[True], [True], [False], [False], [True]]))
    shadows, target = models.models(range(4)), models.models([4])
    attacks = {"separate": LiRAOnline(variance=PooledSeparate()), "pooled": LiRAOnline(variance=Pooled())}
    scores = held_out(attacks, shadows, target)
    assert scores["separate"][0, 0] == pytest.approx(norm.logpdf(5, 1, 1) - norm.logpdf(5, 10, 10))
    assert scores["pooled"][0, 0] == pytest.approx(norm.logpdf(5, 1, 1) - norm.logpdf(5, 10, 1))


def test_rmia_uses_temperature_two_where_logits_are_stored() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(7, 20, 1, 3)).astype(np.float32)
    labels = random.integers(3, size=20)
    members = np.argsort(random.random((7, 20)), axis=0) < 3
    chosen = np.take_along_axis(
        np.exp(logits / 2) / np.exp(logits / 2).sum(-1, keepdims=True), labels[None, :, None, None], -1
    )
    warm = np.log(chosen[..., 0]) - np.log1p(-chosen[..., 0])
    cold = Observed(warm, members, logits, labels)
    scores = leave_one_out({"auto": RMIAOnline(), "one": RMIAOnline(temperature=1.0)}, cold)
    np.testing.assert_allclose(scores["auto"], scores["one"])  # the confidences above are those at temperature 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LiRAOnline(centre="mode"), "centre must be median or mean; got 'mode'"),
        (lambda: LiRAOffline(centre="Mean"), "centre must be median or mean; got 'Mean'"),
        (lambda: LiRAOfflineOneSided(centre=""), "centre must be median or mean; got ''"),
        (lambda: Paired(centre="mode"), "centre must be median or mean; got 'mode'"),
        (lambda: Paired(variance=PerExample()), "takes Residual or Shrunk variances; got PerExample"),
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


def turned(models: Observed) -> Observed:
    return models.models(range(len(models.members))[::-1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda o: leave_one_out({}, o, [0, 1, 2], targets=o.models([0, 1])), "targets must be 3 models, .* got 2"),
        (lambda o: leave_one_out({}, o, [0, 1], targets=o.models([1, 0])), "targets must have the members .* 2 of 2"),
        (lambda o: leave_one_out({}, o, parents=(turned(o), None)), "shadows' parents must have the members"),
        (lambda o: leave_one_out({}, o, [0, 1], parents=(o, o)), "targets' parents must be 2 models, .* got 8"),
        (lambda o: leave_one_out({}, o, [0, 1], parents=(o, o.models([0, 2]))), "1 of 2 do not, the first is number 1"),
        (lambda o: held_out({}, o, o, parents=(turned(o), o)), "shadows' parents must have the members"),
        (lambda o: held_out({}, o, o, parents=(o, turned(o))), "targets' parents must have the members"),
        (lambda o: held_out({}, o, o, parents=(o.models([0]), o)), "shadows' parents must be 8 models, .* got 1"),
        (lambda o: held_out({}, o, once(o)), "targets and shadows must be .* as often; .* 1 and 2 queries"),
        (lambda o: held_out({}, o, o, parents=(once(o), o)), "parents and shadows must be .* 1 and 2 queries"),
    ],
)
def test_models_that_do_not_belong_together_are_refused(
    wrong: Callable[[Observed], object], message: str, make: Make
) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(make())


def once(models: Observed) -> Observed:
    return Observed(np.asarray(models.confidence)[..., :1], models.members)


def test_rmia_refuses_another_temperature_without_logits(make: Make) -> None:
    with pytest.raises(ValueError, match=r"temperature 2\.0 needs logits"):
        leave_one_out({"a": RMIAOnline(temperature=2.0)}, make())


def test_the_paired_attack_refuses_to_run_without_parents(make: Make) -> None:
    with pytest.raises(ValueError, match="needs the full-precision parents"):
        leave_one_out({"a": Paired()}, make())


def test_too_few_shadows_are_refused_by_the_attack_s_name(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lira needs at least 2 shadows .* leaves 0 and 0; use more"):
        leave_one_out({"lira": LiRAOnline()}, make(2))


def test_a_variance_that_takes_more_than_the_shadows_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lira needs at least 6 shadows .* leaves 3 and 3; use more"):
        leave_one_out({"lira": LiRAOffline(variance=PerExample(ddof=5))}, make())
    assert np.isfinite(leave_one_out({"lira": LiRAOffline(variance=PerExample(ddof=5))}, make(14))["lira"]).all()


def test_an_example_that_no_shadow_trained_on_is_named(make: Make) -> None:
    models = make()
    members = models.members.copy()
    members[:, 5] = False
    with pytest.raises(ValueError, match="the first is 5, there is none that trained"):
        leave_one_out({"lira": LiRAOnline()}, Observed(models.confidence, members))


def test_pools_of_different_size_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="the same examples and as often; got 10 and 60 examples"):
        held_out({"lira": LiRAOnline()}, make(), make(examples=10))


@pytest.mark.parametrize(
    ("confidence", "members", "message"),
    [
        (np.zeros((4, 3, 1)), np.zeros((4, 3), int), "must be boolean"),
        (np.zeros((4, 3, 1)), np.zeros(4, bool), r"members must be \(models, examples\)"),
        (np.zeros((4, 3)), np.zeros((4, 3), bool), r"confidence must be \(models, examples, queries\)"),
        (np.zeros((4, 2, 1)), np.zeros((4, 3), bool), r"confidence must be \(models, examples, queries\)"),
        (np.zeros((5, 3, 1)), np.zeros((4, 3), bool), "got 5 models"),
        (
            np.full((4, 3, 1), np.nan),
            np.zeros((4, 3), bool),
            "model 0 has NaN or infinity for 3 of 3 examples, the first is example 0",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    confidence: NDArray[np.float64], members: NDArray[np.bool_], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Observed(confidence, members)


def test_memory_mapped_input_gives_the_same_scores(make: Make, tmp_path: Path) -> None:
    models = make()
    path = tmp_path / "confidence.npy"
    np.save(path, models.confidence)
    mapped = Observed(np.load(path, mmap_mode="r"), models.members)
    attack = {"a": LiRAOnline()}
    np.testing.assert_array_equal(leave_one_out(attack, mapped)["a"], leave_one_out(attack, models)["a"])


@pytest.mark.parametrize("values", [1, 8 * 2 * 7, 1 << 20])
def test_pieces_of_any_size_are_read_and_none_can_be_changed(
    values: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_privq.attacks.observed._READ", values)
    models = make(8, 60, 2)
    given = np.asarray(models.confidence)
    for rows in (slice(0, 5), slice(5, 10), slice(3, 7), slice(50, 60), slice(0, 60)):
        found = models.block(rows)
        np.testing.assert_array_equal(found, given[:, rows])
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0
