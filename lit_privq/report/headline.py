"""The page's answer in a few sentences: the audit's verdicts in words, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lit_privq.artifacts.measures import Change, TargetMean
from lit_privq.artifacts.variant import Variant
from lit_privq.report.changes import phrase
from lit_privq.report.view import View
from lit_privq.report.words import (
    FEW,
    NUMBER,
    bound_percent,
    capitalized,
    counted,
    decimals,
    joined,
    measure,
    percent,
    points,
    ranged,
    spaced,
)

Changes = Mapping[Variant, Change]


@dataclass(frozen=True)
class Headline:
    """What a reader takes away.

    Args:
        sentence: one or two sentences.
        details: the paragraphs that stand below it.
    """

    sentence: str
    details: tuple[str, ...]


def headline(view: View) -> Headline:
    """The least costly saving that the audit shows; then the tests, the largest saving, and the leak itself."""
    reference = view.results.full_precision
    found = {variant: view.saving(variant) for variant in view.results.variants}
    changes = {variant: change for variant, change in found.items() if change is not None}
    if reference is None or view.leak(reference) is None or not changes:
        return Headline(" ".join(leak(view, variant) for variant in view.results.variants[:3]), ())
    return Headline(_lead(view, changes), (" ".join(filter(None, _tests(view, changes))), leak(view, reference)))


def leak(view: View, variant: Variant) -> str:
    """How much one variant leaks, beside random guessing."""
    found, useful, digits = view.leak(variant), view.useful(variant), decimals(view.bound)
    subject = f"{view.label(variant)} {view.utility.sentence(useful.value)}. " if useful else ""
    rate = view.rate(view.focus.key(variant))
    if found is None or rate is None:
        return subject.rstrip()
    ends = ranged(rate.low, rate.high, digits)
    how = view.attack_title(view.attack) + (f"; {ends} {view.scope}" if ends else "")
    gloss = " (share of members identified)" if view.bound else ""
    what = f"{capitalized(measure(view.bound))}{gloss}: {percent(found.value, digits)} ({how})"
    return f"{subject}{what}, {'; '.join(_beside_chance(view, variant, found))}."


def _beside_chance(view: View, variant: Variant, found: TargetMean) -> Iterator[str]:
    """The comparison with random guessing: for other targets, and where that stays open, by the AUC and in these."""
    one, chance = found.targets == 1, f"random guessing ({bound_percent(view.chance)})"
    where, verdict = ("in this target ", found.these) if one else ("", found.verdict)
    if verdict in ("higher", "lower"):
        above = f"{found.value / view.chance:.1f} times" if view.bound else "above"
        yield f"{where}{above if verdict == 'higher' else 'below'} {chance}"
        return
    yield (
        f"{where}not told apart from {chance}{'' if one else ' for other targets'}"
        if verdict == "unclear"
        else f"beside {chance}"
    )
    area = view.measures.means.get(view.focus.key(variant, "auc"))
    if view.bound and area and area.verdict == "higher":
        ends = f"{area.low:.2f} to {area.high:.2f} for other targets"
        yield f"but its AUC is above random guessing: {area.value:.2f} ({ends})"
    yield from _in_these_targets(view, variant, found)


def _in_these_targets(view: View, variant: Variant, found: TargetMean) -> Iterator[str]:
    """How these targets themselves leak more than random guessing, though others may not."""
    these = "this target" if found.targets == 1 else f"each of these {found.targets} targets"
    bounds = view.measures.bounds.get(view.focus.key(variant, "epsilon"))
    if found.above == found.targets:
        yield f"in {these} above it by the target’s own interval"
    elif bounds and bounds.above == found.targets:
        yield f"in {these} more than random guessing, as ε is at least {min(bounds.epsilon):.2f}"
    elif found.these == "higher":
        yield f"these {found.targets} targets, taken together, are above it by the interval of their examples"


def _lead(view: View, changes: Changes) -> str:
    """The least costly saving; where none is shown, what leaks at both ends of the precisions, and that."""
    chosen = {variant.name: variant for variant in changes}
    if view.focus.least_costly is not None:
        return _saving(view, "least costly saving", chosen[view.focus.least_costly])
    if view.focus.largest is not None:
        return _saving(view, "largest saving", chosen[view.focus.largest])
    return f"{_both_ends(view)}. {_unclear(view, changes)}"


def _both_ends(view: View) -> str:
    """What full precision leaks, on average and in the worst case, and what the lowest precision of use leaks."""
    full, lowest = view.results.full_precision, view.lowest
    assert full is not None
    average, among = f"the {measure(view.bound)} is ", f"the AUC among the {spaced(view.focus.worst)}, the worst case, "
    first = f"At full precision {_average_and_worst(view, full, average, among)}"
    if lowest is None:
        return first
    return f"{first}; with {view.label(lowest)}, the lowest precision of use, {_average_and_worst(view, lowest)}"


def _average_and_worst(view: View, variant: Variant, average: str = "", among: str = "") -> str:
    """Leakage of a variant and the AUC among its worst case, each behind what it is."""
    leak, worst = view.rate(view.focus.key(variant)), view.worst(variant)
    assert leak is not None
    first = f"{average}{percent(leak.value, decimals(view.bound))}"
    return f"{first} and {among}{NUMBER.size(worst.value)}" if worst else first


def _unclear(view: View, changes: Changes) -> str:
    """That no saving is shown, and what comes nearest to one."""
    targets = counted(len(view.results.targets), "target")
    if len(view.results.targets) == 1:
        return "One target says nothing of other targets."
    lower = [variant for variant, change in changes.items() if change.verdict == "lower" and variant in view.shown]
    if lower:
        beside = "compared with full precision of its own recipe"
        return f"With {targets}, leakage is clearly lower only with {_named(view, lower)}, {beside}."
    if not view.protected:
        return f"With {targets} no saving is clear."
    whose = f"the AUC among the {spaced(view.focus.worst)}"
    return (
        f"With {targets} no saving is clear on average; {whose} is clearly lower with {_named(view, view.protected)}."
    )


def _in_these(view: View, changes: Changes) -> str:
    """Which variants lower leakage in each of these targets, by the target's own interval."""
    agreed = [variant for variant in view.shown if variant in changes and changes[variant].agreed("lower")]
    if not agreed:
        return ""
    targets = len(view.results.targets)
    where = "this target" if targets == 1 else f"each of these {targets} targets"
    return f"In {where} leakage is lower with {_named(view, agreed)}, by the target’s own interval."


def _named(view: View, variants: Sequence[Variant]) -> str:
    """A few variants by name, more by their number."""
    if len(variants) > FEW:
        return counted(len(variants), "variant")
    return joined([view.label(variant) for variant in variants])


def _saving(view: View, role: str, variant: Variant) -> str:
    """What one variant saves and costs, between full precision and itself."""
    reference = view.results.full_precision
    assert reference is not None
    before, after = (
        percent(found.value, decimals(view.bound)) for v in (reference, variant) if (found := view.leak(v))
    )
    saving = f"it brings the {measure(view.bound)} from {before} to {after}"
    return f"The {role} is {view.label(variant)}: {saving}{_price(view, view.cost(variant))}{_worst(view, variant)}."


def _worst(view: View, variant: Variant) -> str:
    """What remains of the worst case, as the end of a sentence; empty where the audit knows no such slice."""
    full, area = view.results.full_precision, view.worst(variant)
    before = view.worst(full) if full else None
    if area is None or before is None:
        return ""
    first, last = NUMBER.size(before.value), NUMBER.size(area.value)
    change = f"goes from {first} to {last}" if first != last else f"stays at {last}"
    return f"; the AUC among the {spaced(view.focus.worst)}, the worst case, {change}"


def _price(view: View, cost: Change | None) -> str:
    """What a saving costs in accuracy, or R², as the end of a sentence."""
    if cost is None or cost.verdict == "untested":
        return ""
    step, name = view.utility.step, view.utility.name
    if cost.verdict == "unclear":
        ends = f"{step.signed(cost.low)} to {step.signed(cost.high)}"
        return f", and no change of {name} is shown ({step.signed(cost.value)}{step.unit}, {ends})"
    return f" and {'costs' if cost.verdict == 'lower' else 'gains'} {step.size(abs(cost.value))}{step.unit} of {name}"


def _tests(view: View, changes: Changes) -> Iterator[str]:
    """Each variant's test where there are few; else the headline's, and how many there are of each verdict."""
    tests, step = len(view.focus.family), points(view.bound)
    told = [v for v in changes if len(changes) <= FEW or v.name == view.focus.least_costly]
    for variant in told:
        yield f"{view.label(variant)} {phrase(changes[variant], step, tests)}."
    if view.focus.largest is not None and view.focus.least_costly not in (None, view.focus.largest):
        largest = next(variant for variant in changes if variant.name == view.focus.largest)
        yield _saving(view, "largest saving", largest)
    useful = {variant: change for variant, change in changes.items() if variant in view.shown}
    lower, higher = ([v for v, one in useful.items() if one.verdict == side] for side in ("lower", "higher"))
    alone = [variant for variant, change in useful.items() if change.alone != change.verdict]
    if len(changes) > FEW and (lower or higher or alone):
        yield (
            f"Target by target, with all {tests} tests counted (Holm’s correction), {_move(view, lower, 'lower')} "
            f"leakage and {_move(view, higher, 'raise')} it"
            + (f"; {_named(view, alone)} would differ taken alone." if alone else ".")
        )
    if not lower:
        yield _in_these(view, changes)


def _move(view: View, variants: Sequence[Variant], verb: str) -> str:
    """Who does so."""
    return f"{_named(view, variants) if variants else 'none'} {verb}{'' if len(variants) > 1 else 's'}"
