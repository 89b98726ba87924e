"""The tables: one row for each variant, every number with its spread over targets, every difference paired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lit_privq.artifacts.results import Results, mean_interval
from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.spread import spread
from lit_privq.report.words import (
    capitalized,
    change,
    decimals,
    label,
    number_spread,
    percent,
    percent_spread,
    size,
    title,
    width,
)


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: what it says.
        note: smaller, below it.
        strong: whether it is the largest of its row.
    """

    text: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        name: its head.
        group: rows of one group stand together.
        cells: one for each column after the first.
    """

    name: str
    group: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Column heads, the first above the rows' names, and rows."""

    heads: tuple[str, ...]
    rows: tuple[Row, ...]


def attackers(results: Results) -> tuple[str, ...]:
    """Everybody who attacked something, in the file's order."""
    return tuple(dict.fromkeys(key.attacker for key in results.series if key.attack))


def summary(focus: Focus) -> Table:
    """Utility, leakage to every attacker and differences to full precision, variant by variant."""
    names = attackers(focus.results)
    who = (capitalized(f"{name} attacker".strip()) for name in names)
    heads = (
        "Model",
        "Last layer",
        "Size on disk",
        capitalized(focus.utility.name),
        f"Change of {focus.utility.name}",
        "Mean absolute error",
        *who,
        "Change of leakage",
        "AUC",
        "log-AUROC",
    )
    return _without_empty(Table(heads, tuple(_summary_row(focus, each, names) for each in focus.results.variants)))


def _summary_row(focus: Focus, variant: Variant, names: tuple[str, ...]) -> Row:
    """One variant."""
    strongest = focus.strongest(variant)
    cells = (
        Cell(width(variant.last_bits)),
        Cell(size(focus.results.values(variant, "size_bytes"))),
        Cell(focus.utility.text(spread(focus.useful(variant)))),
        Cell(focus.utility.change(focus.cost(variant)) if variant.quantized else "–"),
        Cell(*number_spread(spread(focus.results.values(variant, "mae")))),
        *(_rate(focus, variant, name, focus.attack, name == strongest) for name in names),
        Cell(change(focus.saving(variant), decimals(focus.bound)) if variant.quantized else "–"),
        *(
            Cell(*number_spread(spread(focus.results.values(variant, metric, strongest, focus.attack))))
            for metric in ("auc", "log_auroc")
        ),
    )
    return Row(label(variant), variant.method, cells)


def _without_empty(table: Table) -> Table:
    """The table less the columns that say nothing in any row."""
    kept = [
        column for column, _ in enumerate(table.heads[1:]) if any(row.cells[column].text != "–" for row in table.rows)
    ]
    rows = (replace(row, cells=tuple(row.cells[column] for column in kept)) for row in table.rows)
    return Table((table.heads[0], *(table.heads[1 + column] for column in kept)), tuple(rows))


def all_attacks(focus: Focus) -> Table:
    """Leakage of every variant under every attack and attacker; the largest of a row is strong."""
    attacks = focus.results.attacks
    return Table(("Model", "Attacker", *map(title, attacks)), tuple(_attack_rows(focus, attacks)))


def _attack_rows(focus: Focus, attacks: tuple[str, ...]) -> Iterator[Row]:
    """A row for each variant and attacker."""
    for variant in focus.results.variants:
        for attacker in focus.results.attackers(variant):
            means = {attack: spread(focus.leakage(variant, attacker, attack)).mean for attack in attacks}
            largest = max(means.values())
            rates = (_rate(focus, variant, attacker, attack, means[attack] == largest) for attack in attacks)
            yield Row(label(variant), variant.name, (Cell(attacker or "–"), *rates))


def _rate(focus: Focus, variant: Variant, attacker: str, attack: str, strong: bool) -> Cell:
    """A true-positive rate with its spread, and below it the targets' own intervals, averaged."""
    cells = focus.results.cells(variant, focus.metric, attacker, attack)
    digits = decimals(focus.bound)
    interval = mean_interval(cells)
    note = " to ".join(percent(end, digits) for end in interval) if interval else ""
    return Cell(percent_spread(spread(focus.leakage(variant, attacker, attack)), digits), note, strong and bool(cells))
