"""A battery: every attack against its slow twin, the formula on lists of values, target by target, example by example.

An attack or a variance that is added to the package fails here until it has a twin.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betainc

import lit_privq.attacks
from lit_privq.attacks import (
    BASE,
    Attack,
    LiRAJoint,
    LiRAOffline,
    LiRAOfflineOneSided,
    LiRAOfflineProxy,
    LiRAOnline,
    LiRAOnlineAligned,
    Observed,
    PerExample,
    Pooled,
    PooledSeparate,
    Residual,
    RMIAOffline,
    RMIAOnline,
    Shrunk,
    ShrunkStudent,
    Threshold,
    Variance,
    logit_confidence,
    paired,
    proxies,
    reference,
    score_held_out,
    score_leave_one_out,
    standard,
)

Array = NDArray[np.float64]
LABELS = np.arange(14) % 3


@dataclass(frozen=True, eq=False)
class Scene:
    """One target, the attacker's shadows, and which of them are IN and OUT of each example."""

    shadows: Observed
    parents: Observed
    target: Observed
    parent: Observed
    groups: list[tuple[list[int], list[int]]]

    def x(self, temperature: float = 1.0) -> Array:
        """(examples, queries)."""
        return confidence(self.target, temperature)[0]

    def values(self, side: int, temperature: float = 1.0) -> list[Array]:
        """IN (side 0) or OUT values of each example, (shadows, queries)."""
        phi = confidence(self.shadows, temperature)
        return [phi[pair[side], j] for j, pair in enumerate(self.groups)]

    def pairs(self, side: int) -> list[Array]:
        """The same of shadows and their parents, (shadows, queries, 2)."""
        both = np.stack([confidence(self.shadows), confidence(self.parents)], -1)
        return [both[pair[side], j] for j, pair in enumerate(self.groups)]


def confidence(models: Observed, temperature: float = 1.0) -> Array:
    if temperature == 1:
        return np.asarray(models.confidence, np.float64)
    assert models.logits is not None
    p = np.exp(np.asarray(models.logits, np.float64) / temperature)
    true = np.take_along_axis(p, LABELS[None, :, None, None], -1)[..., 0]
    return np.asarray(np.log(true) - np.log(p.sum(-1) - true))


def groups(members: NDArray[np.bool_], target: int | None, cut: bool) -> list[tuple[list[int], list[int]]]:
    """IN and OUT models of each example, perhaps cut to the least of each in model order."""
    models = [m for m in range(len(members)) if m != target]
    pairs = [([m for m in models if row[m]], [m for m in models if not row[m]]) for row in members.T]
    if not cut:
        return pairs
    inside, outside = (min(len(pair[side]) for pair in pairs) for side in (0, 1))
    return [(pair[0][:inside], pair[1][:outside]) for pair in pairs]


def middle(values: Array, centre: str) -> Array:
    """Over the first axis."""
    return np.median(values, axis=0) if centre == "median" else values.mean(axis=0)


def off_centre(values: list[Array], centre: str) -> list[float]:
    """Sum of squared distances from the centre, of each example."""
    return [float(((each - middle(each, centre)) ** 2).sum()) for each in values]


def bound_of(values: list[Array], centre: str, cap: float) -> float:
    """On an example's mean square: so many times the mean of the bounded ones, by repeated substitution."""
    squares = off_centre(values, centre)
    pairs = [(total, each.size) for total, each in zip(squares, values, strict=True) if total > 0]
    times, mean, before = min(cap, max(2.0, len(pairs) / 4)), math.inf, 0.0
    while mean != before:
        bounded = [min(total, times * mean * size) for total, size in pairs]
        before, mean = mean, math.fsum(bounded) / sum(size for _, size in pairs)
    return times * mean


def weights_of(values: list[Array], centre: str, cap: float) -> list[float]:
    """By what the squares of each example are multiplied, at most 1."""
    bound = bound_of(values, centre, cap)
    return [
        min(1.0, bound * each.size / total) if total else 1.0
        for total, each in zip(off_centre(values, centre), values, strict=True)
    ]


def residual(values: list[Array], centre: str, cap: float) -> float:
    pairs = zip(off_centre(values, centre), weights_of(values, centre, cap), strict=True)
    return math.fsum(total * weight for total, weight in pairs) / sum(each.size for each in values)


def shrunk(variance: Variance, values: list[Array], centre: str) -> list[Array]:
    assert isinstance(variance, Shrunk)
    fixed, nu = residual(values, centre, variance.cap), variance.strength
    if math.isinf(nu):
        return fixed_for_all(fixed, values)
    return [(nu * fixed + ((each - each.mean(0)) ** 2).sum(0)) / (nu + len(each) - 1) for each in values]


def per_example(variance: Variance, values: list[Array], centre: str) -> list[Array]:
    assert isinstance(variance, PerExample)
    return [each.var(axis=0, ddof=variance.ddof) for each in values]


def fixed_for_all(fixed: float, values: list[Array]) -> list[Array]:
    return [np.full(each.shape[1], fixed) for each in values]


VARIANCES: dict[type[Variance], Callable[[Variance, list[Array], str], list[Array]]] = {
    PerExample: per_example,
    Pooled: lambda _, values, __: fixed_for_all(float(np.concatenate(values).var()), values),
    PooledSeparate: lambda _, values, __: fixed_for_all(float(np.concatenate(values).var()), values),
    Residual: lambda each, values, centre: fixed_for_all(residual(values, centre, each.cap), values),  # type: ignore[attr-defined]
    Shrunk: shrunk,
    ShrunkStudent: shrunk,
}


def degrees(variance: Variance, count: int) -> float:
    """Of Student's t; infinite for the normal distribution."""
    return variance.strength + count - 1 if isinstance(variance, ShrunkStudent) else math.inf


def log_density(z: float, nu: float) -> float:
    if math.isinf(nu):
        return -z * z / 2 - math.log(2 * math.pi) / 2
    constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - math.log(nu * math.pi) / 2
    return constant - (nu + 1) / 2 * math.log(1 + z * z / nu)


def log_odds(z: float, nu: float) -> float:
    """Of lying below."""
    tail = math.erfc(abs(z) / math.sqrt(2)) / 2 if math.isinf(nu) else betainc(nu / 2, 0.5, nu / (nu + z * z)) / 2
    return math.copysign(math.log((1 - tail) / tail), z)


def medians(values: Array) -> Array:
    return np.asarray(np.percentile(values, 50, axis=0))


def ranges(values: Array) -> Array:
    return np.asarray(np.percentile(values, 75, axis=0) - np.percentile(values, 25, axis=0))


def aligned(scene: Scene) -> Array:
    """The target's confidences with the median and quartiles' distance that the other models have on average."""
    phi, x = confidence(scene.shadows), scene.x()
    others = [one for one in phi if not np.array_equal(one, x)]
    middle, spread = (np.mean([read(one) for one in others], axis=0) for read in (medians, ranges))
    return np.asarray(middle + spread * (x - medians(x)) / ranges(x))


def lira(attack: Any, scene: Scene, side: int, read: Callable[[float, float], float], scaled: bool = True) -> Array:
    """Density (or odds) of the target's distance from a group, averaged over queries, (examples,)."""
    values, x = scene.values(side), aligned(scene) if isinstance(attack, LiRAOnlineAligned) else scene.x()
    source = scene.values(0) if type(attack.variance) is Pooled and isinstance(attack, LiRAOnline) else values
    variances = VARIANCES[type(attack.variance)](attack.variance, source, attack.centre)
    found = []
    for j, (here, variance) in enumerate(zip(values, variances, strict=True)):
        deviation, nu = np.sqrt(variance) + 1e-30, degrees(attack.variance, len(here))
        z = (x[j] - middle(here, attack.centre)) / deviation  # (queries,)
        found.append(np.mean([read(each, nu) for each in z] - np.log(deviation) * scaled))
    return np.array(found)


def lira_paired(attack: Any, scene: Scene, side: int) -> Array:
    """Two-dimensional Gaussian on confidence and parent's, averaged over queries, (examples,)."""
    pairs, points = scene.pairs(side), np.stack([scene.x(), confidence(scene.parent)[0]], -1)
    axes = [[each[..., axis] for each in pairs] for axis in (0, 1)]
    weights = np.sqrt([weights_of(each, attack.centre, attack.variance.cap) for each in axes])  # (2, examples)
    off = [(each - middle(each, attack.centre)) * weights[:, j] for j, each in enumerate(pairs)]
    flat = np.concatenate([each.reshape(-1, 2) for each in off])
    fixed = flat.T @ flat / len(flat)
    found = []
    for each, point in zip(pairs, points, strict=True):
        total = 0.0
        for q in range(point.shape[0]):
            covariance = fixed
            if type(attack.variance) is Shrunk:
                centred, nu = each[:, q] - each[:, q].mean(0), attack.variance.strength
                covariance = (nu * fixed + centred.T @ centred) / (nu + len(each) - 1)
            z = point[q] - middle(each[:, q], attack.centre)
            total -= (z @ np.linalg.inv(covariance) @ z + math.log(np.linalg.det(covariance))) / 2
        found.append(total / point.shape[0])
    return np.array(found)


def log_ratio(scene: Scene, temperature: float, marginal: Callable[[Array, Array], Array]) -> Array:
    """log p(x | target) / p(x), averaged over queries, (examples,)."""
    p, x = ([1 / (1 + np.exp(-v)) for v in scene.values(side, temperature)] for side in (0, 1)), scene.x(temperature)
    found = zip(1 / (1 + np.exp(-x)), *p, strict=True)
    return np.array([np.log(target / marginal(inside, outside)).mean() for target, inside, outside in found])


def mean_of_all(inside: Array, outside: Array) -> Array:
    return np.asarray(np.concatenate([inside, outside]).mean(axis=0))


def rmia(attack: Any, scene: Scene, marginal: Callable[[Array, Array], Array]) -> Array:
    usual = 1.0 if scene.target.logits is None else 2.0
    ratio = np.exp(log_ratio(scene, attack.temperature or usual, marginal))
    return np.array([(ratio[j] / np.delete(ratio, j) > attack.gamma).mean() for j in range(len(ratio))])


def class_proxy(attack: Any, scene: Scene) -> Array:
    """Gaussian of the other members of the class, over all shadows but the target, (examples,)."""
    phi, x = confidence(scene.shadows), scene.x()
    alone = [m for m in range(len(phi)) if not np.array_equal(phi[m], confidence(scene.target)[0])]
    found = []
    for j in range(len(x)):
        values = [
            phi[m, i] for i in range(len(x)) for m in alone
            if i != j and LABELS[i] == LABELS[j] and scene.shadows.members[m, i]
        ]  # fmt: skip
        mean, deviation = np.mean(values, axis=0), np.std(values, axis=0)
        found.append(np.mean([log_density(z, math.inf) for z in (x[j] - mean) / deviation] - np.log(deviation)))
    return np.array(found) - lira(attack, scene, 1, log_density)


TWINS: dict[type[Attack], Callable[[Any, Scene], Array]] = {
    LiRAOnline: lambda a, scene: lira(a, scene, 0, log_density) - lira(a, scene, 1, log_density),
    LiRAOnlineAligned: lambda a, scene: lira(a, scene, 0, log_density) - lira(a, scene, 1, log_density),
    LiRAOffline: lambda a, scene: -lira(a, scene, 1, log_density),
    LiRAOfflineOneSided: lambda a, scene: lira(a, scene, 1, log_odds, scaled=False),
    LiRAOfflineProxy: class_proxy,
    LiRAJoint: lambda a, scene: lira_paired(a, scene, 0) - lira_paired(a, scene, 1),
    RMIAOnline: lambda a, scene: rmia(a, scene, mean_of_all),
    RMIAOffline: lambda a, scene: rmia(a, scene, lambda _, out: ((1 + a.a) * out.mean(axis=0) + 1 - a.a) / 2),
    BASE: lambda _, scene: log_ratio(scene, 1.0, mean_of_all),
    Threshold: lambda _, scene: scene.x().mean(axis=1),
}

ATTACKS: dict[str, Attack] = {
    **standard(),
    **proxies(),
    **{f"reference_{name}": attack for name, attack in reference().items()},
    **{f"paired_{name}": attack for name, attack in paired().items()},
    **{
        f"{kind.__name__}_{centre}_{variance}": kind(centre=centre, variance=variance)
        for kind in (LiRAOnline, LiRAOnlineAligned, LiRAOffline, LiRAOfflineOneSided)
        for centre in ("median", "mean")
        for variance in (
            PerExample(1),
            PooledSeparate(),
            Pooled(),
            Residual(),
            Residual(1.5),
            Shrunk(3.5),
            ShrunkStudent(3.5, 1.5),
        )
    },
    **{f"Paired_mean_{each}": LiRAJoint("mean", each) for each in (Residual(), Residual(1.5), Shrunk(3.5))},
    "rmia_online_1_half": RMIAOnline(gamma=0.5, temperature=1.0),
    "rmia_online_3_twice": RMIAOnline(gamma=2.0, temperature=3.0),
    "rmia_offline_twice": RMIAOffline(gamma=2.0, a=0.0),
}
DESIGNS = ["leave_one_out_8", "leave_one_out_9", "held_out", "held_out_equal_groups"]


def drawn(members: NDArray[np.bool_], seed: int, like: Observed | None = None) -> Observed:
    """Models that answer better where they trained; or others much like these."""
    noise = np.random.default_rng(seed).normal(size=(*members.shape, 2, 3))
    if like is None:
        logits = noise + 1.5 * members[..., None, None] * (LABELS[:, None, None] == np.arange(3))
    else:
        logits = np.asarray(like.logits) + 0.5 * noise
    return Observed(np.stack([logit_confidence(each, LABELS) for each in logits]), members, logits, LABELS)


@cache
def played(design: str) -> tuple[list[Scene], dict[str, Array]]:
    """The targets of a design, and all scores, (targets, examples)."""
    random = np.random.default_rng(3)
    alone = design.startswith("leave_one_out")
    if alone:  # the ninth model makes groups of unequal size
        members = np.argsort(random.random((8, 14)), axis=0) < 4
        members = np.vstack([members, random.random((1, 14)) < 0.5])[: int(design[-1])]
        first, rest = range(len(members)), range(len(members))
    else:  # between 3 and 8 of 11 shadows trained on each example
        members = np.argsort(random.random((11, 14)), axis=0) < random.integers(3, 9, size=14)
        members = np.vstack([members, random.random((2, 14)) < 0.5])
        first, rest = range(11), range(11, 13)
    models = drawn(members, 0)
    above = drawn(members, 1, models)
    shadows, parents = models.models(first), above.models(first)
    cut = design != "held_out"
    scenes = [
        Scene(
            shadows, parents, models.models([i]), above.models([i]), groups(shadows.members, i if alone else None, cut)
        )
        for i in rest
    ]
    if alone:
        return scenes, score_leave_one_out(ATTACKS, shadows, versions=[(parents, None)])
    both = parents, above.models(rest)
    return scenes, score_held_out(ATTACKS, shadows, models.models(rest), versions=[both], equal_groups=cut)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("design", DESIGNS)
def test_one_pass_gives_what_the_slow_twin_gives(name: str, design: str) -> None:
    scenes, scores = played(design)
    for scene, found in zip(scenes, scores[name], strict=True):
        expected = TWINS[type(ATTACKS[name])](ATTACKS[name], scene)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)  # inverses and small differences cost digits


def test_groups_of_the_held_out_design_are_unequal_unless_cut() -> None:
    sizes = {design: {len(pair[0]) for pair in played(design)[0][0].groups} for design in DESIGNS}
    assert len(sizes.pop("held_out")) > 3
    assert all(len(each) == 1 for each in sizes.values())


def test_a_low_cap_bounds_examples_of_the_scenes() -> None:
    scene = played("held_out")[0][0]
    assert min(weights_of(scene.values(0), "median", 1.5)) < 1  # or the twins of capped variances would show nothing


def test_every_attack_and_every_variance_has_a_twin() -> None:
    public = [each for each in vars(lit_privq.attacks).values() if inspect.isclass(each)]
    attacks = {each for each in public if issubclass(each, Attack) and each is not Attack}
    assert attacks <= TWINS.keys()
    assert {each for each in public if issubclass(each, Variance) and each is not Variance} <= VARIANCES.keys()
    presets = [*standard().values(), *paired().values(), *reference().values()]
    assert {type(attack) for attack in presets} <= TWINS.keys()
    assert attacks <= {type(attack) for attack in ATTACKS.values()}


def test_from_confidences_alone_rmia_is_at_temperature_one() -> None:
    scene = played("held_out")[0][0]
    plain = [Observed(each.confidence, each.members) for each in (scene.shadows, scene.target)]
    attacks = {"online": RMIAOnline(), "offline": RMIAOffline()}
    scores = score_held_out(attacks, *plain)
    for name, attack in attacks.items():
        without = Scene(plain[0], scene.parents, plain[1], scene.parent, scene.groups)
        np.testing.assert_allclose(scores[name][0], TWINS[type(attack)](attack, without))
        assert (scores[name] != score_held_out({name: attack}, scene.shadows, scene.target)[name]).any()


def test_unaware_leave_one_out_hides_the_parent_of_the_very_target() -> None:
    scenes, _ = played("leave_one_out_8")
    full = scenes[0].shadows
    quantized = drawn(full.members, 5, full)
    scores = score_leave_one_out({"a": LiRAOnline()}, full, targets=quantized)["a"]
    for i, scene in enumerate(scenes):
        attacked = Scene(full, full, quantized.models([i]), scene.parent, scene.groups)
        np.testing.assert_allclose(scores[i], TWINS[LiRAOnline](LiRAOnline(), attacked), rtol=1e-10)
