"""What each precision changes, tested on the same targets."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, isnan

from lit_privq.artifacts.measures import Change
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.changes import change_cell
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import measure, p_value, points


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nothing was compared."""
    found = _changes(view)
    if not found:
        return None
    shown = {"table": _table(view, found), "tests": len(view.focus.family)}
    return Section("differences", "Is the change more than chance?", shown, tuple(_drawings(view, found)))


def _drawings(view: View, found: dict[str, dict[Variant, Change]]) -> Iterator[Drawing]:
    """None where all that was compared only guesses."""
    if any(variant in view.shown for each in found.values() for variant in each):
        alt = "Change of leakage from full precision, with intervals; the table has the numbers."
        yield Drawing("changes", figures.changes(view, found), alt)


def _changes(view: View) -> dict[str, dict[Variant, Change]]:
    """Those of the page's measure and attack, by attacker and variant."""
    found: dict[str, dict[Variant, Change]] = {}
    for key, change in view.measures.changes.items():
        if (key.metric, key.attack) == (view.metric, view.attack) and not isnan(change.value):
            found.setdefault(key.attacker, {})[key.variant] = change
    return found


def _table(view: View, found: dict[str, dict[Variant, Change]]) -> PageTable:
    """A row for each variant and attacker; the strongest attacker's bears the test that counts."""
    heads = ("Model", "Attacker", f"Change of {measure(view.bound)}", "All tests counted", "Change of AUC")
    rows = (
        PageRow(view.label(variant), variant.name, _cells(view, Key(variant, view.metric, attacker, view.attack)))
        for variant in view.results.variants
        for attacker, each in found.items()
        if variant in each
    )
    return PageTable(heads if view.bound is not None else heads[:-1], tuple(rows))


def _cells(view: View, key: Key) -> tuple[PageCell, ...]:
    """Change with its own p-value, p-value with all tests counted, change of the AUC."""
    change = view.measures.changes[key]
    counted = EMPTY
    if isfinite(change.holm):
        counted = PageCell(p_value(change.holm), "", change.verdict != "unclear")
    area = view.measures.changes.get(key._replace(metric="auc"))
    cells = PageCell(key.attacker), change_cell(change, points(view.bound), p=True), counted
    return cells if view.bound is None else (*cells, change_cell(area))
