"""Leakage at equal accuracy: every quantized variant beside the fronts of its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import LEVEL, AtEqualAccuracy, Change, Focus, Front, Measures, compared
from lit_privq.artifacts.results import ALL, Key, Results
from lit_privq.artifacts.variant import Variant
from lit_privq.metrics import from_front, front, holm

Places = Mapping[Variant, tuple[NDArray[np.float64], NDArray[np.float64]]]  # accuracy and leakage, each (targets,)


def at_equal_accuracy(measures: Measures, results: Results, families: Mapping[str, str]) -> Measures:
    """The conclusions with fronts and comparisons at equal accuracy, of classifiers trained by several recipes.

    Rivals are families of recipes in full precision, and methods, each with the recipe whose models it quantizes. A
    method's front begins at its full-precision parent, which a defender may keep. Left out are variants that only
    guess, repeats, and what was not measured on every target; dominated ones make no front.

    Args:
        measures: what the audit concluded so far.
        results: of the same audit.
        families: name of the family by recipe; a recipe that is left out is its own.
    """
    if len(results.recipes) < 2 or measures.focus.utility != "accuracy":
        return measures
    fronts: list[Front] = []
    found: list[AtEqualAccuracy] = []
    for part in filter(None, (ALL, measures.focus.worst)):
        places = _places(results, measures.focus, part)
        for rival, variants in _rivals(results, places, families).items():
            one = _front(rival, part, variants, places)
            fronts.append(one)
            found += _counted(list(_beside(one, places)))
    return replace(measures, fronts=tuple(fronts), at_equal_accuracy=tuple(found))


def _places(results: Results, focus: Focus, part: str) -> Places:
    """Accuracy and leakage of every variant that has a place in a front, target by target."""
    found: dict[Variant, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for variant in results.variants:
        if variant.repeat or variant.name in focus.guessing:
            continue
        leak = focus.key(variant) if part == ALL else focus.worst_key(variant)
        columns = [results.series.get(key, {}) for key in (Key(variant, focus.utility), leak)]
        values = [np.array([cells[target].value for target in results.targets if target in cells]) for cells in columns]
        if all(len(each) == len(results.targets) and np.isfinite(each).all() for each in values):
            found[variant] = values[0], values[1]
    return found


def _rivals(results: Results, places: Places, families: Mapping[str, str]) -> dict[str, list[Variant]]:
    """The variants of each rival; the first recipe alone is the baseline and no rival."""
    rivals: dict[str, list[Variant]] = {}
    methods = {variant.group for variant in places if variant.quantized}
    for variant in places:
        if variant.quantized:
            parent = [variant.parent] if variant.parent in places else []
            rivals.setdefault(variant.group, parent).append(variant)
        else:
            name = variant.recipe or results.first_recipe
            family = families.get(name, name)
            rivals.setdefault(f"{family} as a recipe" if family in methods else family, []).append(variant)
    return {rival: found for rival, found in rivals.items() if found != [results.full_precision]}


def _front(rival: str, part: str, variants: list[Variant], places: Places) -> Front:
    means = np.array([[values.mean() for values in places[variant]] for variant in variants])  # (variants, 2)
    kept = [variants[index] for index in front(means[:, 0], means[:, 1])]
    dominated = tuple(variant.name for variant in variants if variant not in kept)
    return Front(rival, part, tuple(variant.name for variant in kept), dominated)


def _beside(one: Front, places: Places) -> Iterator[AtEqualAccuracy]:
    """The quantized variants of other rivals beside a front of two points at least."""
    by_name = {variant.name: variant for variant in places}
    points = [places[by_name[name]] for name in one.points]
    accuracies, leakages = (np.stack([point[which] for point in points]) for which in (0, 1))  # (points, targets)
    for variant, own in places.items():
        if len(points) > 1 and variant.quantized and variant.group != one.rival:
            seen = from_front(*own, accuracies, leakages)
            difference, verdict = seen.change, compared(seen.change.low, seen.change.high)
            change = Change(difference.value, difference.low, difference.high, difference.p, nan, verdict, verdict)
            yield AtEqualAccuracy(one.rival, one.slice, variant.name, seen.place, seen.leakage, change)


def _counted(found: list[AtEqualAccuracy]) -> list[AtEqualAccuracy]:
    """Comparisons with Holm's correction over all of them."""
    tested = [one.change.p for one in found if isfinite(one.change.p)]
    corrected = iter(holm(tested))
    return [
        replace(one, change=_corrected(one.change, next(corrected))) if isfinite(one.change.p) else one for one in found
    ]


def _corrected(change: Change, p: float) -> Change:
    return replace(change, holm=p, verdict=change.alone if p < LEVEL else "unclear")
