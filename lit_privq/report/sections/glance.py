"""The small table that a reader takes to a meeting: utility, leakage, worst case, and the attacker with the parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import NUMBER, capitalized, decimals, measure, percent, spaced

Column = Callable[[View, Variant], PageCell]


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nothing is compared: the headline then says all."""
    if len(view.results.variants) < 2:
        return None
    return Section("glance", "At a glance", {"table": table(view), "worst": spaced(view.focus.worst)})


def table(view: View) -> PageTable:
    """A row for each variant that does more than guess, and no column without a number."""
    columns: dict[str, Column] = {
        capitalized(view.utility.name): _useful,
        capitalized(measure(view.bound)): _leak,
        "Worst case": _worst,
        f"AUC among {spaced(view.focus.worst)}": _worst_area,
        "Attacker holds the parent": _paired,
    }
    cells = {head: [cell(view, variant) for variant in view.shown] for head, cell in columns.items()}
    kept = {head: each for head, each in cells.items() if any(cell.text != "–" for cell in each)}
    rows = (
        PageRow(view.label(variant), variant.group, tuple(each[row] for each in kept.values()))
        for row, variant in enumerate(view.shown)
    )
    return PageTable(("Model", *kept), tuple(rows))


def _useful(view: View, variant: Variant) -> PageCell:
    found = view.useful(variant)
    return PageCell(view.utility.text(found.value) if found else "–")


def _leak(view: View, variant: Variant) -> PageCell:
    return _tested(view, view.focus.key(variant))


def _worst(view: View, variant: Variant) -> PageCell:
    """Below it the attacker, where that one did not quantize its shadow models as the target was."""
    cell = _tested(view, view.focus.worst_key(variant)) if view.focus.worst else PageCell("–")
    return replace(cell, note="unaware") if view.focus.worst_unaware(variant) else cell


def _worst_area(view: View, variant: Variant) -> PageCell:
    area = view.worst_area(variant)
    return PageCell(NUMBER.size(area.value) if area else "–")


def _paired(view: View, variant: Variant) -> PageCell:
    """The headline's attack by the attacker who also holds the model that the variant was made from."""
    return _rate(view, Key(variant, view.metric, "paired", view.attack))


def _tested(view: View, key: Key) -> PageCell:
    """A mean, strong where the audit calls its change from full precision a difference."""
    change = view.measures.changes.get(key)
    return _rate(view, key, change is not None and change.verdict in ("lower", "higher"))


def _rate(view: View, key: Key, strong: bool = False) -> PageCell:
    rate = view.rate(key)
    return PageCell(percent(rate.value, decimals(view.bound)) if rate else "–", strong=strong)
