"""Tables of the page: heads, rows and cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from lit_privq.artifacts.measures import Rate
from lit_privq.artifacts.results import Results
from lit_privq.report.words import Step


@dataclass(frozen=True)
class PageCell:
    """One cell.

    Args:
        text: what it says.
        note: smaller, below it.
        strong: whether it stands out: the largest of its row, a change that the audit calls a difference.
    """

    text: str
    note: str = ""
    strong: bool = False


EMPTY = PageCell("–")
"""What was not measured."""


@dataclass(frozen=True)
class PageRow:
    """One row.

    Args:
        name: its head.
        group: rows of one group stand together.
        cells: one for each column after the first.
    """

    name: str
    group: str
    cells: tuple[PageCell, ...]


@dataclass(frozen=True)
class PageTable:
    """Column heads, the first above the rows' names, and rows."""

    heads: tuple[str, ...]
    rows: tuple[PageRow, ...]


def rate_cell(rate: Rate | None, step: Step, unit: str = "", *, strong: bool = False) -> PageCell:
    r"""A number, and below it its interval.

    >>> rate_cell(Rate(0.5, 0.25, 0.75), Step(100.0, 0, ""), "\xa0%")
    PageCell(text='50\xa0%', note='25 to 75\xa0%', strong=False)
    """
    if rate is None:
        return EMPTY
    ends = f"{step.size(rate.low)} to {step.size(rate.high)}{unit}" if isfinite(rate.low) else ""
    return PageCell(f"{step.size(rate.value)}{unit}", ends, strong)


def without_empty(table: PageTable) -> PageTable:
    """The table less the rows and columns in which nothing was measured."""
    columns = range(len(table.heads) - 1)
    kept = [column for column in columns if any(row.cells[column] != EMPTY for row in table.rows)]
    rows = (replace(row, cells=tuple(row.cells[column] for column in kept)) for row in table.rows)
    filled = tuple(row for row in rows if any(cell != EMPTY for cell in row.cells))
    return PageTable((table.heads[0], *(table.heads[1 + column] for column in kept)), filled)


def attackers(results: Results) -> tuple[str, ...]:
    """Everybody who attacked something, in the file's order."""
    return tuple(dict.fromkeys(key.attacker for key in results.series if key.attack))
