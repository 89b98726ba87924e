"""The tables of all numbers: a row for each variant, and one for each variant and attacker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite
from statistics import fmean

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.changes import change_cell
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable, attackers, rate_cell, without_empty
from lit_privq.report.view import View
from lit_privq.report.words import NUMBER, PERCENT, capitalized, decimals, measure, percent, points, size


def section(view: View, inputs: Inputs) -> Section:
    """Always there."""
    tables = {"summary": summary(view), "attacks": all_attacks(view)}
    tied = any(cell.note.endswith("FPR") for table in tables.values() for row in table.rows for cell in row.cells)
    return Section("numbers", "The numbers", {"what": capitalized(measure(view.bound)), "tied": tied, **tables})


def summary(view: View) -> PageTable:
    """Variant by variant: utility, leakage and their changes first, then every attacker and everything else."""
    names = attackers(view.results)
    each = names if len(names) > 1 else ()
    heads = (
        "Model",
        capitalized(view.utility.name),
        capitalized(measure(view.bound)),
        f"Change of {view.utility.name}",
        "Change of leakage",
        *(capitalized(f"{name} attacker".strip()) for name in each),
        "AUC",
        "log-AUROC",
        "Mean absolute error",
        "Exported size",
        "Weights left in float",
    )
    return without_empty(PageTable(heads, tuple(_summary_row(view, one, each) for one in view.results.variants)))


def _summary_row(view: View, variant: Variant, each: tuple[str, ...]) -> PageRow:
    """One variant."""
    strongest = view.strongest(variant)
    cells = (
        rate_cell(view.rate(Key(variant, view.utility.metric)), view.utility.step, view.utility.unit),
        _rate(view, view.focus.key(variant), False),
        change_cell(view.cost(variant), view.utility.step),
        change_cell(view.saving(variant), points(view.bound)),
        *(_rate(view, Key(variant, view.metric, name, view.attack), name == strongest) for name in each),
        *(rate_cell(view.rate(view.focus.key(variant, metric)), NUMBER) for metric in ("auc", "log_auroc")),
        rate_cell(view.rate(Key(variant, "mae")), NUMBER),
        PageCell(size(view.results.values(variant, "size_bytes"))),
        PageCell(_most(view.results.values(variant, "float_weights"))),
    )
    return PageRow(view.label(variant), variant.group, cells)


def all_attacks(view: View) -> PageTable:
    """Leakage of every variant under every attack and attacker; the largest of a row is strong."""
    attacks = view.results.attacks
    return PageTable(("Model", "Attacker", *map(view.attack_title, attacks)), tuple(_attack_rows(view, attacks)))


def _attack_rows(view: View, attacks: tuple[str, ...]) -> Iterator[PageRow]:
    """A row for each variant and attacker."""
    for variant in view.results.variants:
        for attacker in view.results.attackers(variant):
            largest = view.focus.best[variant.name].get(attacker)
            rates = (_rate(view, Key(variant, view.metric, attacker, name), name == largest) for name in attacks)
            yield PageRow(view.label(variant), variant.name, (PageCell(attacker or "–"), *rates))


def _most(counts: Mapping[int, float]) -> str:
    """The largest of the targets' counts; they are not in results.csv where they are 0.

    >>> _most({16: 2.0, 17: 2.0}), _most({})
    ('2', '–')
    """
    return f"{max(counts.values()):.0f}" if counts else "–"


def _rate(view: View, key: Key, strong: bool) -> PageCell:
    """A true-positive rate, or an AUC, in percent; with the false-positive rate really reached where that is low."""
    cell = rate_cell(view.rate(key), points(view.bound), PERCENT, strong=strong)
    reached = [found.fpr for found in view.results.cells(*key).values() if isfinite(found.fpr)]
    if view.bound is None or not reached or fmean(reached) >= view.bound / 2:
        return cell
    read = f"at {percent(fmean(reached), decimals(view.bound) + 1)} FPR"
    return replace(cell, note=f"{cell.note} {read}".lstrip())
