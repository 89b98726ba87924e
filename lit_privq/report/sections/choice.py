"""Which precision to ship: the least leakage that an accuracy budget allows, and what being identified then means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from lit_privq.artifacts.measures import Rate, ShadowThreshold, TargetMean
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable
from lit_privq.report.utility import ACCURACY
from lit_privq.report.view import View
from lit_privq.report.words import NUMBER, POINTS, decimals, measure, odds, percent, ranged, spaced

Leak = Callable[[Variant], TargetMean | Rate | None]

BUDGETS = (0.01, 0.02, 0.05)  # of accuracy, as fractions


def section(view: View, inputs: Inputs) -> Section | None:
    """None where there is no accuracy, or nothing to choose from."""
    full = view.results.full_precision
    if view.utility is not ACCURACY or full is None or view.leak(full) is None:
        return None
    if not any(view.cost(variant) for variant in view.results.variants):
        return None
    values = {"table": _table(view, full), "what": measure(view.bound), "worst": spaced(view.focus.worst)}
    what = "model" if len(view.results.recipes) > 1 else "precision"
    return Section("choice", f"Which {what} to ship", values)


def allowed(view: View, full: Variant, budget: float) -> list[Variant]:
    """Full precision, and the variants whose loss of accuracy from it stays within the budget by its whole interval."""
    return [v for v in view.shown if v == full or (v.baseline == full and _largest_loss(view, v) <= budget)]


def _largest_loss(view: View, variant: Variant) -> float:
    """The end of the interval of the loss; of a single target that of its examples."""
    cost = view.cost(variant)
    if cost is None:
        return float("inf")
    low = cost.each[0].low if cost.verdict == "untested" and cost.each else cost.low
    return -low if isfinite(low) else float("inf")


def _table(view: View, full: Variant) -> PageTable:
    """A row for each budget."""
    priors = list(dict.fromkeys(prior for point in view.measures.thresholds for prior in point.precision))
    worst = ("Least in the worst case",) if view.knows_worst else ()
    heads = (
        "Accuracy lost",
        "Least on average",
        *worst,
        *(f"PPV if {odds(prior)} is a member" for prior in priors),
    )
    return PageTable(heads, tuple(_row(view, full, budget, priors) for budget in BUDGETS))


def _row(view: View, full: Variant, budget: float, priors: Sequence[float]) -> PageRow:
    """One budget: the variants with the least leakage, and how sure the attacker is of those found in the first."""
    found = allowed(view, full, budget)
    least = _chosen(found, view.leak)
    cells = [_least(view, least, view.leak, lambda leak: percent(leak, decimals(view.bound)))]
    if view.knows_worst:
        protected = _chosen(found, view.worst)
        cells.append(_least(view, protected, view.worst, lambda area: f"AUC {NUMBER.size(area)}"))
    point = _threshold(view, least) if least else None
    cells += [_precision(point.precision.get(prior) if point else None) for prior in priors]
    return PageRow(f"at most {counted_points(budget)}", "", tuple(cells))


def counted_points(budget: float) -> str:
    """A budget in percentage points.

    >>> counted_points(0.01), counted_points(0.02)
    ('1 point', '2 points')
    """
    return f"{100 * budget:g} point" + ("" if budget == 0.01 else "s")


def _chosen(variants: Sequence[Variant], leak: Leak) -> Variant | None:
    leaks = {variant: found.value for variant in variants if (found := leak(variant))}
    return min(leaks, key=leaks.__getitem__) if leaks else None


def _least(view: View, chosen: Variant | None, leak: Leak, text: Callable[[float], str]) -> PageCell:
    """The variant with the least leakage, below it how much that is and what it costs."""
    found = leak(chosen) if chosen else None
    if chosen is None or found is None:
        return EMPTY
    cost = view.cost(chosen)
    price = f", accuracy {POINTS.signed(cost.value)}" if cost else ""
    return PageCell(view.label(chosen), f"{text(found.value)}{price}")


def _threshold(view: View, variant: Variant) -> ShadowThreshold | None:
    """The headline's attack on a variant at the headline's bound, its threshold chosen on shadows."""
    wanted = (variant, view.strongest(variant), view.attack, view.bound)
    found = (p for p in view.measures.thresholds if (p.variant, p.attacker, p.attack, p.max_fpr) == wanted)
    return next(found, None)


def _precision(rate: Rate | None) -> PageCell:
    return PageCell(percent(rate.value, 0), ranged(rate.low, rate.high, 0)) if rate else EMPTY
