"""The page's answer in a few sentences, computed from the data and never beyond them."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.artifacts.variant import Variant
from lit_privq.report.spread import Spread, spread
from lit_privq.report.utility import Utility
from lit_privq.report.view import View
from lit_privq.report.words import bound_percent, capitalized, counted, decimals, joined, measure, percent


@dataclass(frozen=True)
class Answer:
    """What a reader takes away.

    Args:
        headline: one or two sentences.
        details: the sentences that stand below it.
    """

    headline: str
    details: tuple[str, ...]


def answer(view: View) -> Answer:
    """The least costly clear saving first; then the leak itself, the largest saving, and what is within its spread."""
    reference = view.results.full_precision
    compared = [variant for variant in view.results.variants if variant.quantized and view.worst(variant)]
    if reference is None or not view.worst(reference) or not compared:
        return Answer(" ".join(leak(view, variant) for variant in view.results.variants[:3]), ())
    savings = {variant: saving for variant in compared if (saving := view.saving(variant)) and saving.count}
    clear = _clear(view)
    return Answer(_headline(view, clear), (leak(view, reference), *_rest(view, savings, clear)))


def least_costly(view: View) -> Variant | None:
    """The variant of the headline: of the clear savings the one that costs least; None where there is none."""
    costs = {variant: cost.mean for variant in _clear(view) if (cost := view.cost(variant)) and cost.count}
    return max(costs, key=lambda variant: costs[variant], default=None)


def _clear(view: View) -> list[Variant]:
    """The variants that clearly leak less than full precision."""
    savings = {variant: view.saving(variant) for variant in view.results.variants if variant.quantized}
    return [variant for variant, saving in savings.items() if saving and saving.clear and saving.mean < 0]


def leak(view: View, variant: Variant) -> str:
    """How much one variant leaks, beside random guessing."""
    found = spread(view.worst(variant))
    useful = spread(view.useful(variant))
    subject = f"{view.label(variant)} {view.utility.sentence(useful)}. " if useful.count else ""
    value = percent(found.mean, decimals(view.bound))
    what = f"{capitalized(measure(view.bound))}: {value} ({view.attack_title(view.attack)})"
    return f"{subject}{what}, {_against_chance(view, found)}."


def _against_chance(view: View, found: Spread) -> str:
    """How a leak compares with random guessing."""
    chance = f"random guessing’s {bound_percent(view.chance)}"
    if found.count < 2:
        return f"against {chance} (one target: no spread)"
    excess = Spread(found.mean - view.chance, found.deviation, found.count)
    if excess.clear and excess.mean > 0:
        return f"{found.mean / view.chance:.1f} times {chance}"
    return f"not told apart from {chance} by {counted(found.count, 'target')}"


def _headline(view: View, clear: list[Variant]) -> str:
    """The least costly clear saving, or that there is none."""
    if len(view.results.targets) == 1:
        return "One target has no spread: these data cannot tell whether quantization protects."
    if not clear:
        count = counted(len(view.results.targets), "target")
        return (
            f"No precision lowers leakage by more than its spread over {count}: "
            "these data do not show that quantization protects."
        )
    cheapest = least_costly(view)
    if cheapest is None:
        return _sentence(view, "largest clear saving", _leakiest(view, clear)[-1])
    return _sentence(view, "least costly clear saving", cheapest)


def _sentence(view: View, role: str, variant: Variant) -> str:
    """What one variant saves and costs, between full precision and itself."""
    reference = view.results.full_precision
    assert reference is not None
    digits = decimals(view.bound)
    before, after = (percent(spread(view.worst(each)).mean, digits) for each in (reference, variant))
    saving = f"it brings the {measure(view.bound)} from {before} to {after}"
    return f"The {role} is {view.label(variant)}: {saving}{_price(view.utility, view.cost(variant))}."


def _price(utility: Utility, cost: Spread | None) -> str:
    """What a saving costs in accuracy, or R², as the end of a sentence."""
    if cost is None or not cost.count:
        return ""
    if not cost.clear:
        sign = "−" if cost.mean < 0 else "+"
        amount = f"{sign}{utility.amount(abs(cost.mean))}{utility.step}"
        return f", and the change of {utility.name}, {amount}, is within its spread"
    amount = f"{utility.amount(abs(cost.mean))}{utility.step}"
    return f" and {'costs' if cost.mean < 0 else 'gains'} {amount} of {utility.name}"


def _rest(view: View, savings: dict[Variant, Spread], clear: list[Variant]) -> list[str]:
    """The largest saving, the precisions that leak more, and those within their spread."""
    sentences = []
    if len(clear) > 1:
        sentences.append(_sentence(view, "largest clear saving", _leakiest(view, clear)[-1]))
    worse = [variant for variant, saving in savings.items() if saving.clear and saving.mean > 0]
    if worse:
        sentences.append(f"Leakage clearly rises with {joined([view.label(variant) for variant in worse])}.")
    unclear = [variant for variant, saving in savings.items() if not saving.clear]
    if unclear and len(unclear) < len(savings):
        names = joined([view.label(variant) for variant in unclear])
        sentences.append(f"The change of leakage is within its spread for {names}.")
    return sentences


def _leakiest(view: View, variants: list[Variant]) -> list[Variant]:
    """The variants, from most leakage to least."""
    return sorted(variants, key=lambda variant: -spread(view.worst(variant)).mean)
