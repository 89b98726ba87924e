"""What an attacker can really do: his threshold comes from his own shadow models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lit_privq.artifacts.results import Cell as Rate
from lit_privq.artifacts.results import Key
from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured, OperatingPoint
from lit_privq.report.table import Cell, Row, Table
from lit_privq.report.words import bound_percent, decimals, label, percent, ranged, title


@dataclass(frozen=True)
class Operating:
    """The section: what it says first, the table of the strongest attackers, and that of all of them."""

    bound: float
    sentence: str
    table: Table
    every: Table


def operating(focus: Focus, measured: Measured) -> Operating | None:
    """None where no threshold could be fixed on shadows."""
    points = measured.operating_points
    aims = sorted({point.max_fpr for point in points})
    if not aims:
        return None
    bound = focus.bound if focus.bound in aims else aims[-1]
    shown = [
        point
        for variant in focus.results.variants
        for point in points
        if (point.key.variant, point.key.attacker, point.key.attack, point.max_fpr)
        == (variant, focus.strongest(variant), focus.attack, bound)
    ]
    return Operating(bound, _sentence(shown[0]), _table(shown), _every(points)) if shown else None


def _table(points: Sequence[OperatingPoint]) -> Table:
    """One aim, one attack, the strongest attacker of each variant."""
    heads = ("Model", "Attacker", "Wrongly accused", "Members found", *_accused(points))
    rows = (
        Row(label(point.key.variant), point.key.variant.method, (Cell(point.key.attacker), *_cells(point)))
        for point in points
    )
    return Table(heads, tuple(rows))


def _every(points: Sequence[OperatingPoint]) -> Table:
    """Every operating point."""
    heads = ("Model", "Attacker", "Attack", "Aim", "Wrongly accused", "Members found", *_accused(points))
    rows = (
        Row(label(point.key.variant), point.key.variant.name, (*_who(point.key, point.max_fpr), *_cells(point)))
        for point in points
    )
    return Table(heads, tuple(rows))


def _who(key: Key, aim: float) -> tuple[Cell, ...]:
    """Attacker, attack and aim."""
    return Cell(key.attacker), Cell(title(key.attack)), Cell(bound_percent(aim))


def _accused(points: Sequence[OperatingPoint]) -> tuple[str, ...]:
    """Heads of the columns of precisions."""
    return tuple(f"Rightly accused, if {_odds(prior)} is a member" for prior in points[0].precision)


def _cells(point: OperatingPoint) -> tuple[Cell, ...]:
    """Rates and precisions of a point, each with its interval."""
    digits = decimals(point.max_fpr) + 1
    rates = (_cell(point.fpr, digits), _cell(point.tpr, decimals(point.max_fpr)))
    return (*rates, *(_cell(value, 0) for value in point.precision.values()))


def _cell(rate: Rate, digits: int) -> Cell:
    """A rate with its interval."""
    return Cell(percent(rate.value, digits), ranged(rate.low, rate.high, digits))


def _odds(prior: float) -> str:
    """A share in words.

    >>> _odds(0.5), _odds(0.01)
    ('1 in 2', '1 in 100')
    """
    return f"1 in {1 / prior:.3g}"


def _sentence(point: OperatingPoint) -> str:
    """What the first variant's point says."""
    digits = decimals(point.max_fpr)
    aim, reached = bound_percent(point.max_fpr), percent(point.fpr.value, digits + 1)
    found = f"finds {percent(point.tpr.value, digits)} of the members"
    sure = ", ".join(f"{percent(value.value, 0)} if {_odds(prior)} is" for prior, value in point.precision.items())
    return (
        f"{label(point.key.variant)}: aiming at {aim} false positives, the attacker reaches {reached} and {found}. "
        f"Of those he accuses, so many are members: {sure}."
    )
