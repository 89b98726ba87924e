"""Chooses what an audit's conclusions are about: attack, operating point, strongest attackers, tests, best variants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite, isnan

from lit_privq.artifacts.measures import LEVEL, PAPER_BOUND, Change, Focus, TargetMean
from lit_privq.artifacts.results import ALL, CANARIES, MOST_VULNERABLE, POOL, SLICE, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.metrics import holm

KEPT = 0.5
"""A model that keeps a smaller share of full precision's utility above random guessing guesses, or does little more."""

PAPER_ATTACKS = ("lira_online_fixed", "lira_offline_fixed")
_WORST = (CANARIES, MOST_VULNERABLE)  # the first that there is stands for the worst case

Means = Mapping[Key, TargetMean]
Changes = Mapping[Key, Change]


def conclude(means: Means, changes: Changes, variants: Sequence[Variant]) -> tuple[Focus, dict[Key, Change]]:
    """The focus of an audit, and its changes with Holm's correction over the tests of the focus.

    Args:
        means: over targets, in the order of results.csv.
        changes: from each variant's baseline, each judged as if it were the only test.
        variants: full precision of the first recipe first.

    Raises:
        ValueError: if nothing was attacked.
    """
    parts: dict[tuple[str, str], dict[Key, TargetMean]] = {}
    for key, mean in means.items():
        parts.setdefault((key.slice, key.against), {})[key] = mean
    whole = parts.get((ALL, POOL), {})
    worst = worst_of([part for part, against in parts if against == POOL])
    rates, areas = parts.get((worst, POOL), {}), parts.get((worst, SLICE), {})
    attacks, metric, empty = _attacks(whole, variants), *_metric(whole)
    strongest = _strongest(whole, variants, metric, attacks[0])
    worst_strongest = _strongest_within(rates, areas, variants, metric, attacks[0])
    family = _tested([Key(v, metric, strongest[v.name], attacks[0]) for v in variants], changes)
    worst_family = _tested(
        [Key(v, "auc", worst_strongest[v.name], attacks[0], worst, SLICE) for v in variants if worst], changes
    )
    utility = next((name for name in ("r2", "accuracy") if any(key.metric == name for key in whole)), "")
    guessing = _guessing(whole, variants, utility)
    saved = {key.variant: change.value for key, change in family.items() if change.verdict == "lower"}
    comparable = {variant: value for variant, value in saved.items() if variant.baseline == variants[0].baseline}
    lower = {variant: value for variant, value in comparable.items() if variant not in guessing}
    costs = {v: changes[key].value for v in lower if (key := Key(v, utility)) in changes}
    focus = Focus(
        attacks,
        metric,
        bound_of(metric),
        chance_of(metric),
        empty,
        utility,
        strongest,
        {variant.name: _best(whole, variant, metric) for variant in variants},
        tuple(key.variant.name for key in family),
        worst,
        worst_strongest,
        tuple(key.variant.name for key in worst_family),
        _first(costs, max),
        _first(lower, min),
        tuple(variant.name for variant in guessing),
    )
    return focus, {**changes, **family, **worst_family}


def _tested(keys: Iterable[Key], changes: Changes) -> dict[Key, Change]:
    """The changes of one family of tests, counted together."""
    family = {key: changes[key] for key in keys if key in changes and isfinite(changes[key].p)}
    corrected = holm([change.p for change in family.values()])
    return {key: _counted(change, p) for (key, change), p in zip(family.items(), corrected, strict=True)}


def worst_of(slices: Collection[str]) -> str:
    """The slice that stands for the worst case; empty where there is none.

    >>> worst_of(["class_0", "most_vulnerable"]), worst_of(["most_vulnerable", "canaries"]), worst_of([])
    ('most_vulnerable', 'canaries', '')
    """
    return next((name for name in _WORST if name in slices), "")


def bound_of(metric: str) -> float | None:
    """The bound on the false-positive rate in a metric's name; None where there is none.

    >>> bound_of("tpr_at_0.001"), bound_of("auc")
    (0.001, None)
    """
    return float(metric.removeprefix("tpr_at_")) if metric.startswith("tpr_at_") else None


def chance_of(metric: str) -> float:
    """What random guessing scores; NaN where that is not one number, as of a threshold that was picked.

    >>> chance_of("tpr_at_0.001"), chance_of("auc"), chance_of("balanced_accuracy")
    (0.001, 0.5, nan)
    """
    bound = bound_of(metric.replace("tpr_per_example_at_", "tpr_at_"))
    return bound if bound is not None else 0.5 if metric == "auc" else float("nan")


def _attacks(means: Means, variants: Sequence[Variant]) -> tuple[str, ...]:
    """The paper's pair of attacks where full precision met them, else the first two."""
    attacks = list(dict.fromkeys(key.attack for key in means if key.attack))
    if not attacks:
        raise ValueError("an audit must run at least one attack; got none; name some with --attacks")
    run = [name for name in attacks if any(key.attack == name and key.variant == variants[0] for key in means)]
    return tuple(name for name in PAPER_ATTACKS if name in run) or tuple((run or attacks)[:2])


def _metric(means: Means) -> tuple[str, tuple[float, ...]]:
    """The measure of leakage, and the bounds that are empty for some target.

    The paper's bound, else the next larger one, then the next smaller, and in a study too small for any the AUC. A mean
    over some of the targets would be another number: one empty value rules a bound out.
    """
    bounds = {bound: key.metric for key in means if (bound := bound_of(key.metric)) is not None}
    empty = {name for name in bounds.values() if any(isnan(m.value) for key, m in means.items() if key.metric == name)}
    ordered = sorted(bounds, key=lambda bound: (bound < PAPER_BOUND, abs(bound - PAPER_BOUND)))
    left = [bounds[bound] for bound in ordered if bounds[bound] not in empty]
    return left[0] if left else "auc", tuple(bound for bound in sorted(bounds) if bounds[bound] in empty)


def _strongest(means: Means, variants: Iterable[Variant], metric: str, attack: str) -> dict[str, str]:
    """The attacker of each variant whom the attack serves best; of equal ones the first.

    The paired attacker also holds the full-precision parent and attacks that one too: left out.
    """
    found: dict[str, dict[str, float]] = {variant.name: {} for variant in variants}
    for key, mean in means.items():
        if (key.metric, key.attack) == (metric, attack) and key.attacker != "paired" and not isnan(mean.value):
            found[key.variant.name][key.attacker] = mean.value
    return {name: _largest(values) for name, values in found.items()}


def _strongest_within(
    rates: Means, areas: Means, variants: Sequence[Variant], metric: str, attack: str
) -> dict[str, str]:
    """The attacker who tells a slice's members from its own non-members best; by the metric where no area was measured.

    A rate at everybody's threshold may rise because the attacker accuses the slice's non-members as well, as one whose
    shadow models are not quantized does: on Fashion-MNIST it had 55 % of the canaries of AdaRound at 1.58 bits, 47 % of
    full precision's, and areas of 0.74 and 0.88.
    """
    by_area = _strongest(areas, variants, "auc", attack)
    return {name: by_area[name] or other for name, other in _strongest(rates, variants, metric, attack).items()}


def _best(means: Means, variant: Variant, metric: str) -> dict[str, str]:
    """Every attacker's best attack, the strongest attacker first."""
    rates: dict[str, dict[str, float]] = {}
    for key, mean in means.items():
        if (key.variant, key.metric) == (variant, metric) and key.attack and not isnan(mean.value):
            rates.setdefault(key.attacker, {})[key.attack] = mean.value
    ordered = sorted(rates, key=lambda attacker: -max(rates[attacker].values()))
    return {attacker: _largest(rates[attacker]) for attacker in ordered}


def _guessing(means: Means, variants: Iterable[Variant], utility: str) -> list[Variant]:
    """The variants that keep too little of what full precision has above random guessing."""
    full, *others = variants
    whole = means.get(Key(full, utility))
    if whole is None or not whole.value > whole.chance:
        return []
    least = whole.chance + KEPT * (whole.value - whole.chance)
    return [variant for variant in others if (own := means.get(Key(variant, utility))) and own.value < least]


def _largest(values: Mapping[str, float]) -> str:
    """The name of the largest value, the first of equal ones; empty where there is none."""
    return max(values, key=lambda name: values[name], default="")


def _counted(change: Change, p: float) -> Change:
    """A change with its p-value among all tests; what is no difference alone is none among them."""
    return replace(change, holm=p, verdict=change.alone if p < LEVEL else "unclear")


def _first(values: Mapping[Variant, float], choose: Callable[..., Variant]) -> str | None:
    """The name of the variant with the extreme value, the first of equal ones."""
    return choose(values, key=lambda variant: values[variant]).name if values else None
