"""Leakage of the worst-case slice beside that of all members, and of every other slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from lit_privq.artifacts.results import CLASS, NOT_CALIBRATION, SLICE, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.changes import change_cell, phrase
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable, rate_cell
from lit_privq.report.view import View
from lit_privq.report.words import (
    NUMBER,
    PERCENT,
    capitalized,
    counted,
    decimals,
    joined,
    measure,
    percent,
    points,
    spaced,
)


def section(view: View, inputs: Inputs) -> Section | None:
    """None where the audit knows no slice but the calibration examples."""
    names = [name for name in view.measures.slices if name != NOT_CALIBRATION and _attacker(view, name)]
    others = [name for name in names if not name.startswith(CLASS)]
    if not others:
        return None
    worst = view.focus.worst
    values = {
        "sentences": list(_sentences(view)) if worst else [],
        "table": _table(view, [worst, *(name for name in others if name != worst)] if worst else others),
        "what": measure(view.bound),
        "own": _differ(view, worst) if worst else "",
    }
    shown = (
        f"AUC of the attack among all examples and among the {spaced(worst)}, by model; whether the average is less is "
        f"judged by the {measure(view.bound)}."
    )
    drawings = [Drawing("worst_case", figures.worst_case(view), _alt(view), shown)] if view.knows_worst else []
    return Section("worst_case", "The worst case", values, tuple(drawings))


def _sentences(view: View) -> Iterator[str]:
    """What quantization changes for the worst case, by the tests of that slice alone."""
    worst, tests = spaced(view.focus.worst), len(view.focus.worst_family)
    lower, what = view.protected, f"the AUC among the {worst}"
    if not view.knows_worst:
        yield f"{capitalized(what)} was not measured."
    elif len(view.results.targets) == 1:
        yield f"One target says nothing of the {worst} in other targets."
    elif not lower:
        yield f"No variant is shown to lower {what} for other targets."
    else:
        names = joined([view.label(v) for v in lower]) if len(lower) <= 3 else counted(len(lower), "variant")
        verb = "lowers" if len(lower) == 1 else "lower"
        said = f"{names} {verb} {what}."
        yield f"With all {tests} tests on this slice counted, {said}" if tests > 1 else capitalized(said)
        changes = {v: view.measures.changes[view.focus.worst_key(v)] for v in lower}
        best = min(lower, key=lambda v: changes[v].value)
        yield f"{view.label(best)} {phrase(changes[best], NUMBER, tests, 'it')}."


def _table(view: View, names: list[str]) -> PageTable:
    """A row for each variant: all members, then each slice; of the worst one the AUC too, and how that changes."""
    columns: dict[str, Callable[[Variant], Key]] = {"All members": view.focus.key}
    for name in names:
        head = f"{capitalized(spaced(name))} ({view.measures.slices[name]})"
        columns[head] = partial(_key, view, name=name)
        own = {v: _key(view, v, name)._replace(against=SLICE) for v in view.results.variants}
        if any(view.rate(key) for key in own.values()):
            columns[f"{head}, own threshold"] = own.__getitem__
    heads = ("Model", *columns)
    rows = [
        PageRow(view.label(variant), variant.group, tuple(_rate(view, key(variant)) for key in columns.values()))
        for variant in view.results.variants
    ]
    if view.knows_worst:
        worst = spaced(view.focus.worst)
        more: dict[str, Callable[[Variant], PageCell]] = {
            f"AUC among {worst}": partial(_area, view),
            "Change of that AUC": lambda v: change_cell(view.worst_saving(v), NUMBER),
        }
        heads = (*heads, *more)
        rows = [
            replace(row, cells=(*row.cells, *(cell(v) for cell in more.values())))
            for row, v in zip(rows, view.results.variants, strict=True)
        ]
    return PageTable(heads, tuple(rows))


def _key(view: View, variant: Variant, name: str) -> Key:
    """The headline's leakage on a slice: by its strongest attacker on the worst one, else by that of all members."""
    if name == view.focus.worst:
        return view.focus.worst_rate(variant)
    return view.focus.key(variant)._replace(slice=name)


def _attacker(view: View, name: str) -> bool:
    return any(_key(view, variant, name) in view.measures.means for variant in view.results.variants)


def _rate(view: View, key: Key) -> PageCell:
    return rate_cell(view.rate(key), points(view.bound), PERCENT)


def _area(view: View, variant: Variant) -> PageCell:
    """Of the worst slice's members and its own non-members, and by whom."""
    cell, attacker = rate_cell(view.worst(variant), NUMBER), view.focus.worst_key(variant).attacker
    return cell if cell == EMPTY else replace(cell, note=f"{cell.note}, {attacker}".lstrip(", "))


def _differ(view: View, worst: str) -> str:
    """What the other rule says of full precision: the threshold set by the slice's own non-members."""
    full = view.results.full_precision
    rate = view.rate(view.focus.worst_rate(full, SLICE)) if full else None
    if rate is None:
        return ""
    return (
        f"With a threshold set by the non-members among the {spaced(worst)} alone: "
        f"{percent(rate.value, decimals(view.bound))} for {view.label(full) if full else ''}."
    )


def _alt(view: View) -> str:
    """The figure in words."""
    parts = []
    for variant in view.results.variants:
        found = [view.rate(key) for key in (view.focus.key(variant, "auc"), view.focus.worst_key(variant))]
        if all(found):
            shown = " and ".join(NUMBER.size(rate.value) for rate in found if rate)
            parts.append(f"{view.label(variant)} {shown}")
    return f"AUC among all examples and among the {spaced(view.focus.worst)}: {'; '.join(parts)}."
