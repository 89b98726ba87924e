"""The tables of all numbers: a row for each variant, and one for each variant and attacker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lit_privq.artifacts.results import mean_interval
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.spread import spread
from lit_privq.report.table import PageCell, PageRow, PageTable, attackers
from lit_privq.report.view import View
from lit_privq.report.words import (
    capitalized,
    change,
    decimals,
    number_spread,
    percent,
    percent_spread,
    size,
    width,
)


def section(view: View, inputs: Inputs) -> Section:
    """Always there."""
    return Section("numbers", "The numbers", {"summary": summary(view), "attacks": all_attacks(view)})


def summary(view: View) -> PageTable:
    """Utility, leakage to every attacker and differences to full precision, variant by variant."""
    names = attackers(view.results)
    who = (capitalized(f"{name} attacker".strip()) for name in names)
    heads = (
        "Model",
        "Last layer",
        "Size on disk",
        capitalized(view.utility.name),
        f"Change of {view.utility.name}",
        "Mean absolute error",
        *who,
        "Change of leakage",
        "AUC",
        "log-AUROC",
    )
    return _without_empty(PageTable(heads, tuple(_summary_row(view, each, names) for each in view.results.variants)))


def _summary_row(view: View, variant: Variant, names: tuple[str, ...]) -> PageRow:
    """One variant."""
    strongest = view.strongest(variant)
    cells = (
        PageCell(width(variant.last_bits)),
        PageCell(size(view.results.values(variant, "size_bytes"))),
        PageCell(view.utility.text(spread(view.useful(variant)))),
        PageCell(view.utility.change(view.cost(variant)) if variant.quantized else "–"),
        PageCell(*number_spread(spread(view.results.values(variant, "mae")))),
        *(_rate(view, variant, name, view.attack, name == strongest) for name in names),
        PageCell(change(view.saving(variant), decimals(view.bound)) if variant.quantized else "–"),
        *(
            PageCell(*number_spread(spread(view.results.values(variant, metric, strongest, view.attack))))
            for metric in ("auc", "log_auroc")
        ),
    )
    return PageRow(view.label(variant), variant.method, cells)


def _without_empty(table: PageTable) -> PageTable:
    """The table less the columns that say nothing in any row."""
    kept = [
        column for column, _ in enumerate(table.heads[1:]) if any(row.cells[column].text != "–" for row in table.rows)
    ]
    rows = (replace(row, cells=tuple(row.cells[column] for column in kept)) for row in table.rows)
    return PageTable((table.heads[0], *(table.heads[1 + column] for column in kept)), tuple(rows))


def all_attacks(view: View) -> PageTable:
    """Leakage of every variant under every attack and attacker; the largest of a row is strong."""
    attacks = view.results.attacks
    return PageTable(("Model", "Attacker", *map(view.attack_title, attacks)), tuple(_attack_rows(view, attacks)))


def _attack_rows(view: View, attacks: tuple[str, ...]) -> Iterator[PageRow]:
    """A row for each variant and attacker."""
    for variant in view.results.variants:
        for attacker in view.results.attackers(variant):
            means = {attack: spread(view.leakage(variant, attacker, attack)).mean for attack in attacks}
            largest = max(means.values())
            rates = (_rate(view, variant, attacker, attack, means[attack] == largest) for attack in attacks)
            yield PageRow(view.label(variant), variant.name, (PageCell(attacker or "–"), *rates))


def _rate(view: View, variant: Variant, attacker: str, attack: str, strong: bool) -> PageCell:
    """A true-positive rate with its spread, and below it the targets' own intervals, averaged."""
    cells = view.results.cells(variant, view.metric, attacker, attack)
    digits = decimals(view.bound)
    interval = mean_interval(cells)
    note = " to ".join(percent(end, digits) for end in interval) if interval else ""
    return PageCell(
        percent_spread(spread(view.leakage(variant, attacker, attack)), digits), note, strong and bool(cells)
    )
