"""Tables of the page: heads, rows and cells."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.artifacts.results import Results


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


def attackers(results: Results) -> tuple[str, ...]:
    """Everybody who attacked something, in the file's order."""
    return tuple(dict.fromkeys(key.attacker for key in results.series if key.attack))
