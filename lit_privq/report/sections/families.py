"""Attackers who hold several versions of a model: the target and its parent, or several precisions."""

from __future__ import annotations

from lit_privq.artifacts.measures import Family
from lit_privq.report.changes import change_cell
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, decimals, measure, percent, points, ranged, spaced


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no attacker holds more than the target."""
    families, used = view.measures.families, view.measures.used
    if not families and not used:
        return None
    values = {
        "families": _families(view) if families else None,
        "used": _used(view) if used else None,
        "metrics": " and ".join(dict.fromkeys(capitalized(_measure(family.metric)) for family in families)),
    }
    return Section("families", "Attackers who hold more", values)


def _families(view: View) -> PageTable:
    heads = ("Versions held", "Together", "Best version alone", "Parent alone", "Together less parent", "Used")
    rows = [PageRow(_named(view, family.versions), "", _cells(view, family)) for family in view.measures.families]
    return PageTable(heads, tuple(rows))


def _cells(view: View, family: Family) -> tuple[PageCell, ...]:
    digits, step = decimals(view.bound), points(view.bound)
    rates = (family.rate, family.rate_alone, family.rate_parent)
    shown = [PageCell(percent(rate.value, digits), ranged(rate.low, rate.high, digits)) for rate in rates]
    used = "; ".join(_named(view, tuple(each.split(" + "))) for each in family.used)
    return (*shown, change_cell(family.change, step, p=True), PageCell(used))


def _used(view: View) -> PageTable:
    """Which of target and parent the paired attacker uses."""
    rows = [
        PageRow(view.label(key.variant), key.variant.group, (PageCell(view.attack_title(key.attack)), PageCell(used)))
        for key, found in view.measures.used.items()
        for used in ["; ".join(found.versions)]
    ]
    return PageTable(("Model", "Attack", "Used"), tuple(rows))


def _named(view: View, names: tuple[str, ...]) -> str:
    variants = {variant.name: view.label(variant) for variant in view.results.variants}
    return " + ".join(variants.get(name, name) for name in names)


def _measure(metric: str) -> str:
    bound = float(metric.removeprefix("tpr_at_")) if metric.startswith("tpr_at_") else None
    return measure(bound) if bound else spaced(metric)
