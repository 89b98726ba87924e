"""The page's answer in a few sentences, computed from the data and never beyond them."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.spread import Spread, spread
from lit_privq.report.utility import Utility
from lit_privq.report.words import bound_percent, capitalized, counted, decimals, joined, label, measure, percent, title


@dataclass(frozen=True)
class Answer:
    """What a reader takes away.

    Args:
        headline: one or two sentences.
        details: the sentences that stand below it.
    """

    headline: str
    details: tuple[str, ...]


def answer(focus: Focus) -> Answer:
    """The least costly clear saving first; then the leak itself, the largest saving, and what is within its spread."""
    reference = focus.results.full_precision
    compared = [variant for variant in focus.results.variants if variant.quantized and focus.worst(variant)]
    if reference is None or not focus.worst(reference) or not compared:
        return Answer(" ".join(leak(focus, variant) for variant in focus.results.variants[:3]), ())
    savings = {variant: saving for variant in compared if (saving := focus.saving(variant)) and saving.count}
    clear = _clear(focus)
    return Answer(_headline(focus, clear), (leak(focus, reference), *_rest(focus, savings, clear)))


def least_costly(focus: Focus) -> Variant | None:
    """The variant of the headline: of the clear savings the one that costs least; None where there is none."""
    costs = {variant: cost.mean for variant in _clear(focus) if (cost := focus.cost(variant)) and cost.count}
    return max(costs, key=lambda variant: costs[variant], default=None)


def _clear(focus: Focus) -> list[Variant]:
    """The variants that clearly leak less than full precision."""
    savings = {variant: focus.saving(variant) for variant in focus.results.variants if variant.quantized}
    return [variant for variant, saving in savings.items() if saving and saving.clear and saving.mean < 0]


def leak(focus: Focus, variant: Variant) -> str:
    """How much one variant leaks, against a coin."""
    found = spread(focus.worst(variant))
    useful = spread(focus.useful(variant))
    subject = f"{label(variant)} {focus.utility.sentence(useful)}. " if useful.count else ""
    value = percent(found.mean, decimals(focus.bound))
    return (
        f"{subject}{capitalized(measure(focus.bound))}: {value} ({title(focus.attack)}), {_against_coin(focus, found)}."
    )


def _against_coin(focus: Focus, found: Spread) -> str:
    """How a leak compares with guessing."""
    coin = f"a coin’s {bound_percent(focus.coin)}"
    if found.count < 2:
        return f"against {coin} (one target: no spread)"
    excess = Spread(found.mean - focus.coin, found.deviation, found.count)
    if excess.clear and excess.mean > 0:
        return f"{found.mean / focus.coin:.1f} times {coin}"
    return f"not told apart from {coin} by {counted(found.count, 'target')}"


def _headline(focus: Focus, clear: list[Variant]) -> str:
    """The least costly clear saving, or that there is none."""
    if len(focus.results.targets) == 1:
        return "One target has no spread: these data cannot tell whether quantization protects."
    if not clear:
        count = counted(len(focus.results.targets), "target")
        return (
            f"No precision lowers leakage by more than its spread over {count}: "
            "these data do not show that quantization protects."
        )
    cheapest = least_costly(focus)
    if cheapest is None:
        return _sentence(focus, "largest clear saving", _leakiest(focus, clear)[-1])
    return _sentence(focus, "least costly clear saving", cheapest)


def _sentence(focus: Focus, role: str, variant: Variant) -> str:
    """What one variant saves and costs, between full precision and itself."""
    reference = focus.results.full_precision
    assert reference is not None
    digits = decimals(focus.bound)
    before, after = (percent(spread(focus.worst(each)).mean, digits) for each in (reference, variant))
    saving = f"it brings the {measure(focus.bound)} from {before} to {after}"
    return f"The {role} is {label(variant)}: {saving}{_price(focus.utility, focus.cost(variant))}."


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


def _rest(focus: Focus, savings: dict[Variant, Spread], clear: list[Variant]) -> list[str]:
    """The largest saving, the precisions that leak more, and those within their spread."""
    sentences = []
    if len(clear) > 1:
        sentences.append(_sentence(focus, "largest clear saving", _leakiest(focus, clear)[-1]))
    worse = [variant for variant, saving in savings.items() if saving.clear and saving.mean > 0]
    if worse:
        sentences.append(f"Leakage clearly rises with {joined([label(variant) for variant in worse])}.")
    unclear = [variant for variant, saving in savings.items() if not saving.clear]
    if unclear and len(unclear) < len(savings):
        names = joined([label(variant) for variant in unclear])
        sentences.append(f"The change of leakage is within its spread for {names}.")
    return sentences


def _leakiest(focus: Focus, variants: list[Variant]) -> list[Variant]:
    """The variants, from most leakage to least."""
    return sorted(variants, key=lambda variant: -spread(focus.worst(variant)).mean)
