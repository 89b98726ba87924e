"""The small tables that a reader takes to a meeting: utility, leakage and worst case, by method and precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lit_privq.artifacts.measures import Change, Rate, TargetMean
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable, without_empty
from lit_privq.report.view import View
from lit_privq.report.words import NUMBER, Step, bits, capitalized, measure, points, spaced

Found = Callable[[Variant], TargetMean | Rate | None]
Moved = Callable[[Variant], Change | None]


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nothing is compared: the headline then says all."""
    if len(view.results.variants) < 2:
        return None
    return Section("glance", "At a glance", {"tables": tables(view), "worst": spaced(view.focus.worst)})


def tables(view: View) -> dict[str, tuple[str, PageTable]]:
    """By name, a title and a table of what was measured of any variant."""
    leakage, unit = f"{capitalized(measure(view.bound))}, %", ", %" if view.utility.unit else ""
    found = {
        view.utility.metric: (f"{view.utility.heading}{unit}", _grid(view, view.useful, view.utility.step)),
        "leakage": (leakage, _grid(view, view.leak, points(view.bound), view.saving)),
        "worst": (f"AUC among {spaced(view.focus.worst)}", _grid(view, view.worst, NUMBER, view.worst_saving)),
        "parent": (
            f"{leakage}, if the attacker holds the parent",
            _grid(view, partial(_paired, view), points(view.bound)),
        ),
    }
    return {name: (title, table) for name, (title, table) in found.items() if table.rows}


def _paired(view: View, variant: Variant) -> Rate | None:
    """The headline's attack by the attacker who also holds the model that the variant was made from."""
    return view.rate(Key(variant, view.metric, "paired", view.attack))


def _grid(view: View, found: Found, step: Step, moved: Moved = lambda _: None) -> PageTable:
    """A row for each method, a column for each precision, strong where the audit shows a difference."""

    def cell(variant: Variant | None) -> PageCell:
        number, change = (found(variant), moved(variant)) if variant else (None, None)
        differs = change is not None and change.verdict in ("lower", "higher")
        return PageCell(step.size(number.value), strong=differs) if number else EMPTY

    rows = _by_precision(view)
    shown = sorted(view.shown, key=lambda variant: (-variant.bits, -variant.last_bits, variant.layers))
    heads = list(dict.fromkeys(map(_precision, shown)))
    filled = (
        PageRow(view.titles.group(first), first.recipe, tuple(map(cell, map(row.get, heads)))) for first, row in rows
    )
    return without_empty(PageTable(("Method", *heads), tuple(filled)))


def _by_precision(view: View) -> list[tuple[Variant, dict[str, Variant]]]:
    """What does more than guess by method, or by recipe that none quantized, beside its full-precision parent."""
    rows: dict[str, dict[str, Variant]] = {}
    for variant in view.shown:
        rows.setdefault(variant.group, {_precision(variant.parent): variant.parent})[_precision(variant)] = variant
    parents = {variant.parent.group for variant in view.shown if variant.quantized}
    return [(list(row.values())[-1], row) for group, row in rows.items() if group not in parents]


def _precision(variant: Variant) -> str:
    """A precision that may be broken between lines."""
    return bits(variant).replace("\N{NO-BREAK SPACE}", " ") if variant.quantized else "Full precision"
