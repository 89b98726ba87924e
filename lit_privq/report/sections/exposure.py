"""The examples that full precision exposes most, and how exposed they are at each precision."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lit_privq.artifacts.pictures import Pictures
from lit_privq.artifacts.scores import AttackScores
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View
from lit_privq.report.words import decimals, joined, percent


@dataclass(frozen=True)
class Exposure:
    """Examples chosen on some targets and shown on others, so that chance in the choice does not look like a defence.

    Args:
        chosen_on: model indices of the targets that chose them.
        shown_on: model indices of the targets they are shown on.
        examples: pool indices, most exposed first.
        rates: per variant (examples,), the false-positive rate at which each is accused; geometric mean over
            the targets shown on that trained on it.
        among: how many examples ``caught`` is about.
        caught: per variant, which share of these is identified on the targets shown, at the bound.
        everyone: per variant, the same share for all members.
    """

    chosen_on: tuple[int, ...]
    shown_on: tuple[int, ...]
    examples: tuple[int, ...]
    rates: Mapping[Variant, NDArray[np.float64]]
    among: int
    caught: Mapping[Variant, float]
    everyone: Mapping[Variant, float]


def section(view: View, inputs: Inputs) -> Section | None:
    """None without scores of two targets or without a bound."""
    plain = view.results.full_precision
    if plain is None or plain not in inputs.scores or view.bound is None:
        return None
    pictured = inputs.pictures.examples.tolist() if inputs.pictures else ()
    found = exposure(inputs.scores, plain, view.bound, pictured=pictured)
    if found is None:
        return None
    shown = _shown(inputs.pictures) if inputs.pictures else {}
    digits = decimals(view.bound)
    rows = [
        (
            example,
            shown.get(example),
            [(_heat(rates[row]), percent(rates[row], digits)) for rates in found.rates.values()],
        )
        for row, example in enumerate(found.examples)
    ]
    values = {"exposure": found, "rows": rows, "choice": _choice(found), "pictured": bool(shown)}
    return Section("exposure", "The most exposed examples", values)


def exposure(
    scores: Mapping[Variant, AttackScores],
    reference: Variant,
    bound: float,
    count: int = 12,
    pictured: Sequence[int] = (),
) -> Exposure | None:
    """Choose on the first half of the targets, show on the second; None where that is impossible.

    Args:
        scores: by variant, on the same targets and examples.
        reference: the variant the choice is made on.
        bound: false-positive rate at which an example counts as identified.
        count: how many examples to show one by one; ``caught`` is about the most exposed twentieth.
        pictured: examples to show in their place, those of which there are pictures.
    """
    plain = scores[reference]
    half = len(plain.targets) // 2
    first, second = np.arange(half), np.arange(half, len(plain.targets))
    both = plain.members[first].any(axis=0) & plain.members[second].any(axis=0)  # (examples,)
    if not both.any():
        return None
    tie_break = -np.where(plain.members[first], plain.scores[first], 0.0).sum(axis=0)  # many share the smallest rate
    order = np.lexsort((tie_break, np.where(both, _mean_rate(plain, first), np.inf)))[: int(both.sum())]
    worst = order[: max(1, plain.members.shape[1] // 20)]
    same = {variant: other for variant, other in scores.items() if _comparable(other, plain)}
    listed = order[np.isin(order, pictured)]
    listed = listed if len(listed) else order[:count]
    return Exposure(
        chosen_on=tuple(plain.targets[first].tolist()),
        shown_on=tuple(plain.targets[second].tolist()),
        examples=tuple(listed.tolist()),
        rates={variant: _mean_rate(other, second)[listed] for variant, other in same.items()},
        among=len(worst),
        caught={variant: _caught(other, second, worst, bound) for variant, other in same.items()},
        everyone={
            variant: _caught(other, second, np.arange(plain.members.shape[1]), bound) for variant, other in same.items()
        },
    )


def rates(scores: AttackScores) -> NDArray[np.float64]:
    """The false-positive rate at which each example is accused, by target, (targets, examples).

    The share of the target's non-members that score as high or higher, the example itself counted once, so that it is
    never 0.
    """
    return np.stack([_rates(row, row[~inside]) for row, inside in zip(scores.scores, scores.members, strict=True)])


def _rates(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """One target's, (examples,)."""
    above = others.size - np.searchsorted(np.sort(others), scores, side="left")
    return np.asarray((1 + above) / (1 + others.size), dtype=np.float64)


def _comparable(scores: AttackScores, plain: AttackScores) -> bool:
    """Whether two files speak of the same targets and members."""
    return np.array_equal(scores.targets, plain.targets) and np.array_equal(scores.members, plain.members)


def _mean_rate(scores: AttackScores, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Geometric mean of the rates over those targets that trained on an example, NaN where none did, (examples,)."""
    inside = scores.members[targets]  # (targets, examples)
    total = np.where(inside, np.log(rates(scores)[targets]), 0.0).sum(axis=0)
    trained = inside.sum(axis=0)
    mean = np.divide(total, trained, out=np.full(total.shape, np.nan), where=trained > 0)
    return np.asarray(np.exp(mean), dtype=np.float64)


def _caught(scores: AttackScores, targets: NDArray[np.int64], examples: NDArray[np.int64], bound: float) -> float:
    """Share of (target, member) pairs accused at the bound."""
    inside = scores.members[np.ix_(targets, examples)]
    return float((rates(scores)[np.ix_(targets, examples)] <= bound)[inside].mean())


def _heat(rate: float) -> int:
    """How strongly an example is accused, in five steps of its false-positive rate; 4 is the strongest.

    >>> [_heat(rate) for rate in (0.001, 0.01, 0.03, 0.2, 0.9)]
    [4, 3, 2, 1, 0]
    """
    return sum(rate <= step for step in (0.5, 0.05, 0.01, 0.002))


def _shown(pictures: Pictures) -> dict[int, tuple[str, str, str]]:
    """By example, its picture as an address of its own, its class, and how sure models are of that."""
    addresses = map(_address, pictures.images)
    classes = [
        f"“{pictures.name(label)}”" + (f", in truth “{pictures.name(true)}”" if true != label else "")
        for label, true in zip(pictures.labels.tolist(), pictures.true_labels.tolist(), strict=True)
    ]
    sure = [
        f"{percent(inside)} in, {percent(outside)} out"
        for inside, outside in zip(pictures.inside, pictures.outside, strict=True)
    ]
    return dict(zip(pictures.examples.tolist(), zip(addresses, classes, sure, strict=True), strict=True))


def _address(image: NDArray[np.uint8]) -> str:
    """An image (channels, height, width) as a PNG inside an address."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _choice(seen: Exposure) -> str:
    """How the examples of the example view were chosen."""
    picked, shown = (
        f"target{'' if len(targets) == 1 else 's'} {joined([str(target) for target in targets])}"
        for targets in (seen.chosen_on, seen.shown_on)
    )
    return (
        f"Chosen on {picked} and shown on {shown}: what looked exposed on the former by chance alone "
        "does not look so again on the latter"
        + (", so a lower exposure along a row is not an effect of the choice." if len(seen.rates) > 1 else ".")
    )
