"""Leakage at equal accuracy: every quantized variant beside the fronts of its rivals."""

from __future__ import annotations

from collections.abc import Iterator

from lit_privq.artifacts.measures import AtEqualAccuracy, Front
from lit_privq.artifacts.results import ALL
from lit_privq.report import figures
from lit_privq.report.changes import change_cell
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import NUMBER, capitalized, counted, joined, points, spaced


def section(view: View, inputs: Inputs) -> Section | None:
    """None where the study has no rivals: models of one recipe, or a regression."""
    fronts = view.measures.fronts
    if not fronts:
        return None
    named = _named(view)
    parts = list(dict.fromkeys(front.slice for front in fronts))
    values = {
        "sentences": list(_sentences(view, named)),
        "tables": [(_title(part), view.measured(part), _table(view, part, named)) for part in parts],
        "figure_names": [_drawing(part) for part in parts],
        "single": joined([named[f.rival] for f in fronts if f.slice == ALL and len(f.points) == 1]),
        "dominated": "; ".join(_dominated(view, named)),
        "guessing": joined([view.label(variant) for variant in view.guessing]),
    }
    drawings = [
        Drawing(_drawing(part), figures.fronts(view, part, named), _alt(view, part, named), _caption(view, part))
        for part in parts
    ]
    return Section("equal_accuracy", "Rivals at equal accuracy", values, tuple(drawings))


def _drawing(part: str) -> str:
    return "equal_accuracy" if part == ALL else f"equal_accuracy_{part}"


def _title(part: str) -> str:
    return "All members" if part == ALL else capitalized(spaced(part))


def _named(view: View) -> dict[str, str]:
    """The rivals as people write them: families by their name, methods by title."""
    groups = {variant.group: view.titles.group(variant) for variant in view.results.variants if variant.quantized}
    return {front.rival: groups.get(front.rival) or view.titles.recipe(front.rival) for front in view.measures.fronts}


def _sentences(view: View, named: dict[str, str]) -> Iterator[str]:
    """Which quantized variants leak less, or more, than a rival of the same accuracy."""
    for part in dict.fromkeys(front.slice for front in view.measures.fronts):
        found = [one for one in view.measures.at_equal_accuracy if one.slice == part]
        inside = [one for one in found if one.place == "inside"]
        whom = "" if part == ALL else f" of the {spaced(part)}"
        clear = {verdict: sum(one.change.verdict == verdict for one in inside) for verdict in ("lower", "higher")}
        yield (
            f"Leakage{whom}: of {counted(len(found), 'comparison')} of a compressed model (quantized or pruned) with a "
            f"rival, {len(inside)} are at an accuracy that the rival offers; there the compressed model leaks less in "
            f"{clear['lower']} and more in {clear['higher']}, and the others are unclear."
        )


def _table(view: View, part: str, named: dict[str, str]) -> PageTable:
    """A row for each quantized variant, a column for each front."""
    rivals = [front for front in view.measures.fronts if front.slice == part and len(front.points) > 1]
    found = {(one.variant, one.rival): one for one in view.measures.at_equal_accuracy if one.slice == part}
    compared = dict.fromkeys(name for name, _ in found)
    rows = [
        PageRow(view.label(v), v.group, tuple(_cell(view, found.get((v.name, front.rival))) for front in rivals))
        for v in view.results.variants
        if v.name in compared
    ]
    return PageTable(("Model", *(f"less {named[front.rival]}" for front in rivals)), tuple(rows))


def _cell(view: View, one: AtEqualAccuracy | None) -> PageCell:
    if one is None:
        return PageCell("–", "itself")
    if one.place != "inside":
        return PageCell("outside", f"{one.place} its accuracies")
    return change_cell(one.change, points(view.bound) if one.slice == ALL else NUMBER)


def _dominated(view: View, named: dict[str, str]) -> Iterator[str]:
    """What is left out of fronts of all members."""
    for front in view.measures.fronts:
        if front.slice == ALL and front.dominated:
            yield f"{named[front.rival]}: {joined(_labels(view, front.dominated))}"


def _labels(view: View, names: tuple[str, ...]) -> list[str]:
    return [view.label(variant) for variant in view.results.variants if variant.name in names]


def _alt(view: View, part: str, named: dict[str, str]) -> str:
    """The figure in words."""

    def told(front: Front) -> str:
        return f"{named[front.rival]}: {joined(_labels(view, front.points))}"

    fronts = "; ".join(told(front) for front in view.measures.fronts if front.slice == part)
    return f"{_caption(view, part)} {fronts}."


def _caption(view: View, part: str) -> str:
    whose = ", all members" if part == ALL else ""
    return f"Accuracy against {view.measured(part)}{whose}, the front of each rival."
