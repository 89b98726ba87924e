"""What an attacker can really do: his threshold comes from his own shadow models."""

from __future__ import annotations

from collections.abc import Sequence

from lit_privq.artifacts.results import Cell as Rate
from lit_privq.artifacts.results import Key
from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import OperatingPoint
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import bound_percent, decimals, percent, ranged


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no threshold could be fixed on shadows."""
    points = inputs.measured.operating_points
    aims = sorted({point.max_fpr for point in points})
    if not aims:
        return None
    bound = view.bound if view.bound in aims else aims[-1]
    shown = [
        point
        for variant in view.results.variants
        for point in points
        if (point.key.variant, point.key.attacker, point.key.attack, point.max_fpr)
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
            "every": _every(view, points),
        },
    )


def _table(view: View, points: Sequence[OperatingPoint]) -> PageTable:
    """One aim, one attack, the strongest attacker of each variant."""
    heads = ("Model", "Attacker", "Wrongly accused", "Members found", *_accused(points))
    rows = (
        PageRow(
            view.label(point.key.variant),
            point.key.variant.method,
            (PageCell(point.key.attacker), *_cells(point)),
        )
        for point in points
    )
    return PageTable(heads, tuple(rows))


def _every(view: View, points: Sequence[OperatingPoint]) -> PageTable:
    """Every operating point."""
    heads = ("Model", "Attacker", "Attack", "Aim", "Wrongly accused", "Members found", *_accused(points))
    rows = (
        PageRow(
            view.label(point.key.variant),
            point.key.variant.name,
            (*_who(view, point.key, point.max_fpr), *_cells(point)),
        )
        for point in points
    )
    return PageTable(heads, tuple(rows))


def _who(view: View, key: Key, aim: float) -> tuple[PageCell, ...]:
    """Attacker, attack and aim."""
    return PageCell(key.attacker), PageCell(view.attack_title(key.attack)), PageCell(bound_percent(aim))


def _accused(points: Sequence[OperatingPoint]) -> tuple[str, ...]:
    """Heads of the columns of precisions."""
    return tuple(f"Rightly accused, if {_odds(prior)} is a member" for prior in points[0].precision)


def _cells(point: OperatingPoint) -> tuple[PageCell, ...]:
    """Rates and precisions of a point, each with its interval."""
    digits = decimals(point.max_fpr) + 1
    rates = (_cell(point.fpr, digits), _cell(point.tpr, decimals(point.max_fpr)))
    return (*rates, *(_cell(value, 0) for value in point.precision.values()))


def _cell(rate: Rate, digits: int) -> PageCell:
    """A rate with its interval."""
    return PageCell(percent(rate.value, digits), ranged(rate.low, rate.high, digits))


def _odds(prior: float) -> str:
    """A share in words.

    >>> _odds(0.5), _odds(0.01)
    ('1 in 2', '1 in 100')
    """
    return f"1 in {1 / prior:.3g}"


def _sentence(view: View, point: OperatingPoint) -> str:
    """What the first variant's point says."""
    digits = decimals(point.max_fpr)
    aim, reached = bound_percent(point.max_fpr), percent(point.fpr.value, digits + 1)
    found = f"finds {percent(point.tpr.value, digits)} of the members"
    sure = ", ".join(f"{percent(value.value, 0)} if {_odds(prior)} is" for prior, value in point.precision.items())
    return (
        f"{view.label(point.key.variant)}: aiming at {aim} FPR, the attacker reaches {reached} and {found}. "
        f"Of those whom they accuse, so many are members: {sure}."
    )
