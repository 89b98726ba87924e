"""Attack performance at a threshold chosen on shadow models, without a look at the targets' ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from lit_privq.artifacts.measures import Rate, ShadowThreshold
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import bound_percent, decimals, joined, odds, percent, ranged


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no threshold could be fixed on shadows."""
    points = view.measures.thresholds
    aims = sorted({point.max_fpr for point in points})
    if not aims:
        return None
    bound = view.bound if view.bound in aims else aims[-1]
    shown = [
        point
        for variant in view.results.variants
        for point in points
        if (point.variant, point.attacker, point.attack, point.max_fpr)
        == (variant, view.strongest(variant), view.attack, bound)
    ]
    if not shown:
        return None
    return Section(
        "operating",
        "With a threshold chosen on shadow models",
        {
            "bound": bound,
            "sentence": _sentence(view, shown[0]),
            "table": _table(view, shown),
            "every": _every(view, sorted(points, key=lambda point: view.results.variants.index(point.variant))),
        },
    )


def _table(view: View, points: Sequence[ShadowThreshold]) -> PageTable:
    """One aim, one attack, the strongest attacker of each variant."""
    heads = ("Model", "Attacker", "FPR reached", "TPR", *_precisions(points))
    rows = (
        PageRow(
            view.label(point.variant),
            point.variant.group,
            (PageCell(point.attacker), *_cells(point)),
        )
        for point in points
    )
    return PageTable(heads, tuple(rows))


def _every(view: View, points: Sequence[ShadowThreshold]) -> PageTable:
    """Every operating point."""
    heads = ("Model", "Attacker", "Attack", "FPR aimed at", "FPR reached", "TPR", *_precisions(points))
    rows = (
        PageRow(
            view.label(point.variant),
            point.variant.name,
            (*_who(view, point), *_cells(point)),
        )
        for point in points
    )
    return PageTable(heads, tuple(rows))


def _who(view: View, point: ShadowThreshold) -> tuple[PageCell, ...]:
    """Attacker, attack and aim."""
    aim = bound_percent(point.max_fpr)
    return PageCell(point.attacker), PageCell(view.attack_title(point.attack)), PageCell(aim)


def _precisions(points: Sequence[ShadowThreshold]) -> tuple[str, ...]:
    """Heads of the columns of precisions."""
    return tuple(f"Precision if {odds(prior)} is a member" for prior in points[0].precision)


def _cells(point: ShadowThreshold) -> tuple[PageCell, ...]:
    """Rates and precisions of a point, each with its interval."""
    digits = decimals(point.max_fpr) + 1
    rates = (_cell(point.fpr, digits), _cell(point.tpr, decimals(point.max_fpr)))
    return (*rates, *(_cell(value, 0) for value in point.precision.values()))


def _cell(rate: Rate, digits: int) -> PageCell:
    """A rate with its interval."""
    return PageCell(percent(rate.value, digits), ranged(rate.low, rate.high, digits))


def _sentence(view: View, point: ShadowThreshold) -> str:
    """What the attacker of the first variant reaches."""
    digits = decimals(point.max_fpr)
    return (
        f"{view.label(point.variant)}: the threshold aims at {bound_percent(point.max_fpr)} FPR and reaches "
        f"{percent(point.fpr.value, digits + 1)}, with a TPR of {percent(point.tpr.value, digits)}. "
        f"{_precision(point.precision)}"
    )


def _precision(precision: Mapping[float, Rate]) -> str:
    """Which share of those called members are members, by how many are among all."""
    known = {prior: rate.value for prior, rate in precision.items() if isfinite(rate.value)}
    if not known:
        return "No example of the targets is called a member, so there is no precision."
    shares = joined([f"{percent(value, 0)} if {odds(prior)} is" for prior, value in known.items()])
    return f"Of the examples called members, so many are members: {shares}."
