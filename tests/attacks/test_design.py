from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import (
    Attack,
    Base,
    LiraOffline,
    LiraOfflineOneSided,
    LiraOnline,
    Observed,
    Paired,
    PerExample,
    Pooled,
    PooledSeparate,
    Residual,
    RmiaOffline,
    RmiaOnline,
    Shrunk,
    ShrunkStudent,
    held_out,
    leave_one_out,
    population_share,
)

Make = Callable[..., Observed]
Groups = dict[int, tuple[list[int], list[int]]]


def groups(members: NDArray[np.bool_], target: int | None) -> Groups:
    """IN and OUT models of each example, cut to the least of each in model order: the obvious way."""
    models = [m for m in range(len(members)) if m != target]
    lists = {
        j: ([m for m in models if members[m, j]], [m for m in models if not members[m, j]])
        for j in range(members.shape[1])
    }
    inside, outside = (min(len(pair[side]) for pair in lists.values()) for side in (0, 1))
    return {j: (pair[0][:inside], pair[1][:outside]) for j, pair in lists.items()}


def normal(x: float, centre: float, deviation: float) -> float:
    return -0.5 * ((x - centre) / deviation) ** 2 - math.log(deviation) - 0.5 * math.log(2 * math.pi)


def spread(phi: NDArray[np.float64], chosen: Groups, side: int, variance: str, centre: str, j: int, q: int) -> float:
    """Deviation, from lists of values."""
    middle = np.median if centre == "median" else np.mean
    here = phi[chosen[j][side], j, q]
    everything = [(phi[pair[side], i, a], i) for i, pair in chosen.items() for a in range(phi.shape[2])]
    if variance == "per_example":
        return float(here.std()) + 1e-30
    if variance == "pooled":
        return float(np.concatenate([values for values, _ in everything]).std()) + 1e-30
    residual = float(np.mean(np.concatenate([(values - middle(values)) ** 2 for values, _ in everything])))
    if variance == "residual":
        return math.sqrt(residual) + 1e-30
    return math.sqrt((16 * residual + ((here - here.mean()) ** 2).sum()) / (16 + len(here) - 1)) + 1e-30


def twin(
    models: Observed, target: int | None, x: NDArray[np.float64], variance: str, centre: str, how: str
) -> list[float]:
    """LiRA of one target from the formulas, value by value."""
    phi = np.asarray(models.confidence, np.float64)
    chosen = groups(models.members, target)
    middle = np.median if centre == "median" else np.mean
    scores = []
    for j, pair in chosen.items():
        total = 0.0
        for q in range(phi.shape[2]):
            s_in, s_out = (spread(phi, chosen, side, variance, centre, j, q) for side in (0, 1))
            m_in, m_out = (float(middle(phi[pair[side], j, q])) for side in (0, 1))
            if how == "online":
                s_out = s_in if variance == "pooled" else s_out
                total += normal(x[j, q], m_in, s_in) - normal(x[j, q], m_out, s_out)
            elif how == "offline":
                total -= normal(x[j, q], m_out, s_out)
            else:
                z = (x[j, q] - m_out) / s_out / math.sqrt(2)
                total += math.log(math.erfc(-z) / math.erfc(z))
        scores.append(total / phi.shape[2])
    return scores


VARIANCES = {"per_example": PerExample(), "pooled": Pooled(), "residual": Residual(), "shrunk": Shrunk()}
KINDS: dict[str, Callable[..., Attack]] = {
    "online": LiraOnline,
    "offline": LiraOffline,
    "one_sided": LiraOfflineOneSided,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("centre", ["median", "mean"])
@pytest.mark.parametrize("count", [8, 9])
def test_one_pass_gives_what_a_plain_loop_gives(kind: str, variance: str, centre: str, count: int, make: Make) -> None:
    models = make(8, 14, 2, gap=0.4, spare=count - 8)  # nine models: groups of unequal size
    attack = {"a": KINDS[kind](centre=centre, variance=VARIANCES[variance])}
    scores = leave_one_out(attack, models)["a"]
    for target in range(count):
        x = np.asarray(models.confidence[target], np.float64)
        np.testing.assert_allclose(
            scores[target], twin(models, target, x, variance, centre, kind), rtol=1e-9, atol=1e-11
        )
    shadows, targets = models.models(range(7)), models.models([count - 1])
    held = held_out(attack, shadows, targets)["a"]
    x = np.asarray(targets.confidence[0], np.float64)
    np.testing.assert_allclose(held[0], twin(shadows, None, x, variance, centre, kind), rtol=1e-9, atol=1e-11)


def means(models: Observed, target: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Mean probability of the true class over IN and over OUT shadows, for each example."""
    p = 1 / (1 + np.exp(-np.asarray(models.confidence, np.float64)))
    for j, (inside, outside) in groups(models.members, target).items():
        yield p[inside, j].mean(0), p[outside, j].mean(0)


def test_base_and_rmia_give_what_a_plain_loop_gives(make: Make) -> None:
    models = make(8, 20, 2)
    attacks = {"base": Base(), "online": RmiaOnline(), "offline": RmiaOffline(a=0.2), "twice": RmiaOnline(gamma=2.0)}
    scores = leave_one_out(attacks, models)
    for target in range(8):
        logp = -np.log1p(np.exp(-np.asarray(models.confidence[target], np.float64)))
        pairs = list(means(models, target))
        online = np.array([(logp[j] - np.log((a + b) / 2)).mean() for j, (a, b) in enumerate(pairs)])
        offline = np.array([(logp[j] - np.log(0.6 * b + 0.4)).mean() for j, (_, b) in enumerate(pairs)])
        np.testing.assert_allclose(scores["base"][target], online, rtol=1e-12, atol=1e-12)
        for name, ratio, gamma in (("online", online, 1.0), ("offline", offline, 1.0), ("twice", online, 2.0)):
            share = [(np.delete(ratio, j) < ratio[j] - np.log(gamma)).mean() for j in range(20)]
            np.testing.assert_allclose(scores[name][target], share)


def test_the_population_share_counts_pairs() -> None:
    random = np.random.default_rng(0)
    x, z = random.normal(size=40), random.normal(size=30)
    for gamma in (0.5, 1.0, 2.0):
        pairs = np.exp(x)[:, None] / np.exp(z) > gamma
        np.testing.assert_allclose(population_share(x, z, gamma=gamma), pairs.mean(axis=1))
    own = population_share(x, x, gamma=0.5, own=np.ones(40, bool))
    np.testing.assert_allclose(own, [(np.exp(x[i]) / np.exp(np.delete(x, i)) > 0.5).mean() for i in range(40)])


def test_the_paired_attack_gives_what_a_two_dimensional_gaussian_gives(make: Make) -> None:
    models, parent = make(8, 12, 2), make(8, 12, 2, seed=3)
    parent = Observed(np.asarray(parent.confidence) + np.asarray(models.confidence), models.members)
    scores = leave_one_out({"a": Paired(centre="mean")}, models, parents=(parent, None))["a"]
    both = np.stack(
        [np.asarray(o.confidence, np.float64) for o in (models, parent)], -1
    )  # (models, examples, queries, 2)
    for target in range(8):
        chosen = groups(models.members, target)
        expected = np.zeros(12)
        for side, sign in ((0, 1), (1, -1)):
            centred = np.stack([both[pair[side], j] - both[pair[side], j].mean(0) for j, pair in chosen.items()])
            inverse = np.linalg.inv(covariance := np.einsum("jmqa,jmqb->ab", centred, centred) / centred[..., 0].size)
            for j, pair in chosen.items():
                off = both[target, j] - both[pair[side], j].mean(0)  # (queries, 2)
                quadratic = np.einsum("qa,ab,qb->q", off, inverse, off)
                expected[j] -= sign * 0.5 * (quadratic + np.log(np.linalg.det(covariance))).mean()
        np.testing.assert_allclose(scores[target], expected, rtol=1e-9, atol=1e-10)  # the inverse costs digits


def test_a_parent_that_repeats_the_child_adds_nothing_infinite(make: Make) -> None:
    models = make(8, 30, 1)
    assert np.isfinite(leave_one_out({"a": Paired()}, models, parents=(models, None))["a"]).all()


def test_unaware_leave_one_out_hides_the_parent_of_the_very_target(make: Make) -> None:
    full, quantized = make(8, 12, 2), make(8, 12, 2, seed=5)
    quantized = Observed(quantized.confidence, full.members)
    scores = leave_one_out({"a": LiraOnline()}, full, targets=quantized)["a"]
    for target in range(8):
        x = np.asarray(quantized.confidence[target], np.float64)
        np.testing.assert_allclose(scores[target], twin(full, target, x, "residual", "median", "online"), rtol=1e-10)


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
        {"a": LiraOfflineOneSided(variance=PerExample())}, models.models(range(4)), models.models(range(4, 8))
    )
    far, farther, low, lower = scores["a"][:, 0]
    assert np.isfinite(scores["a"]).all()
    assert farther > far > 0 > low > lower
    assert low == -far


def test_equal_confidences_leave_a_deviation_of_zero_not_rounding_noise() -> None:
    members = np.array([[True], [True], [True], [False], [False], [False]])
    values = np.array([0.1, 0.1, 7.0, 1.0, 2.0, 3.0]).reshape(6, 1, 1)
    scores = leave_one_out({"a": LiraOnline(variance=PerExample())}, Observed(values, members), [2])["a"]
    assert scores[0, 0] < -1e50  # two equal IN values, the third far off: as the plain formula with 1e-30 says


def test_one_value_far_off_costs_the_others_no_digits() -> None:
    values = np.array([1e-9, 2e-9, 4e-9, 1e9, 1.0, 2.0, 3.0, 4.0]).reshape(8, 1, 1)
    models = Observed(values, np.arange(8)[:, None] < 4)
    attack = {"a": LiraOnline(variance=PerExample()), "base": Base()}
    loo = leave_one_out(attack, models, [3])
    held = held_out(attack, models.models([0, 1, 2, 4, 5, 6, 7]), models.models([3]))
    for name in attack:
        np.testing.assert_allclose(loo[name], held[name], rtol=1e-9)


def test_pooled_separate_takes_each_group_s_own_spread() -> None:
    values = np.array([0.0, 2.0, 0.0, 20.0, 5.0]).reshape(5, 1, 1)
    models = Observed(values, np.array([[True], [True], [False], [False], [True]]))
    shadows, target = models.models(range(4)), models.models([4])
    attacks = {"separate": LiraOnline(variance=PooledSeparate()), "pooled": LiraOnline(variance=Pooled())}
    scores = held_out(attacks, shadows, target)
    assert scores["separate"][0, 0] == pytest.approx(normal(5, 1, 1) - normal(5, 10, 10))
    assert scores["pooled"][0, 0] == pytest.approx(normal(5, 1, 1) - normal(5, 10, 1))


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
    scores = leave_one_out({"auto": RmiaOnline(), "one": RmiaOnline(temperature=1.0)}, cold)
    np.testing.assert_allclose(scores["auto"], scores["one"])  # the confidences above are those at temperature 2


def test_rmia_refuses_another_temperature_without_logits(make: Make) -> None:
    with pytest.raises(ValueError, match=r"temperature 2\.0 needs logits"):
        leave_one_out({"a": RmiaOnline(temperature=2.0)}, make())


def test_the_paired_attack_refuses_to_run_without_parents(make: Make) -> None:
    with pytest.raises(ValueError, match="needs the full-precision parents"):
        leave_one_out({"a": Paired()}, make())


def test_too_few_shadows_are_refused_by_the_attack_s_name(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lira needs at least 2 shadows .* leaves 0 and 0; use more"):
        leave_one_out({"lira": LiraOnline()}, make(2))


def test_an_example_that_no_shadow_trained_on_is_named(make: Make) -> None:
    models = make()
    members = models.members.copy()
    members[:, 5] = False
    with pytest.raises(ValueError, match="the first is 5, there is none that trained"):
        leave_one_out({"lira": LiraOnline()}, Observed(models.confidence, members))


def test_pools_of_different_size_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="the same examples; got 10 and 60"):
        held_out({"lira": LiraOnline()}, make(), make(examples=10))


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
    attack = {"a": LiraOnline()}
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
