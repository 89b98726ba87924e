"""Tables of the page as files: CSV for a spreadsheet, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from urllib.parse import quote

from lit_privq.report.table import PageCell, PageTable

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{NO-BREAK SPACE}": "~", "−": "$-$", "–": "--",
    "²": "$^2$", "ε": r"$\varepsilon$", "δ": r"$\delta$", "μ": r"$\mu$", "≤": r"$\leq$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def csv_text(table: PageTable) -> str:
    """A line for each row; what stands below a number has a column of its own, where any cell has such a note."""
    noted = [any(row.cells[column].note for row in table.rows) for column, _ in enumerate(table.heads[1:])]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = (
        each for head, also in zip(table.heads[1:], noted, strict=True) for each in (head, f"{head}: note")[: 1 + also]
    )
    writer.writerow([table.heads[0], *heads])
    for row in table.rows:
        cells = zip(row.cells, noted, strict=True)
        writer.writerow([row.name, *(each for cell, also in cells for each in (cell.text, cell.note)[: 1 + also])])
    return text.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def latex(table: PageTable) -> str:
    """A tabular of booktabs, a line between groups; notes stand in brackets."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}", r"\toprule", _line(map(_escaped, table.heads))]
    return "\n".join([*lines, r"\midrule", *_body(table), r"\bottomrule", r"\end{tabular}", ""])


def _body(table: PageTable) -> Iterator[str]:
    before = table.rows[0].group if table.rows else ""
    for row in table.rows:
        if row.group != before:
            yield r"\addlinespace"
        before = row.group
        yield _line([_escaped(row.name), *map(_cell, row.cells)])


def _cell(cell: PageCell) -> str:
    text = rf"\textbf{{{_escaped(cell.text)}}}" if cell.strong else _escaped(cell.text)
    return f"{text} ({_escaped(cell.note)})" if cell.note else text


def _line(cells: Iterator[str] | list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found[0]], text)


def address(text: str, kind: str) -> str:
    """A file as an address that a link can hold, so that the page stays one file.

    >>> address("a b", "text/csv")
    'data:text/csv;charset=utf-8,a%20b'
    """
    return f"data:{kind};charset=utf-8,{quote(text)}"
