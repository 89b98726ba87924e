"""How far runs of one variant differ, and by what: the paper's Fig. 6."""

from __future__ import annotations

from collections.abc import Iterator

from lit_privq.artifacts.measures import LEVEL, Draws, Rate
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import Step, counted, measure, p_value, points


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nothing was quantized several times."""
    if not view.measures.draws:
        return None
    variants = [v for v in view.results.variants if v.name in {one.variant for one in view.measures.draws}]
    values = {"table": _table(view), "sentences": list(_sentences(view))}
    named = "; ".join(f"{view.label(v)}, {counted(len(_repeats(view, v)), 'repeat')}" for v in variants)
    alt = f"{view.utility.heading} against {measure(view.bound)}, a point for every run: {named}."
    places = {variant: _places(view, variant) for variant in variants}
    return Section("draws", "How far runs differ", values, (Drawing("draws", figures.draws(view, places), alt),))


def _repeats(view: View, variant: Variant) -> list[Variant]:
    """All draws of a variant, the first too."""
    return [variant, *(one for one in view.results.repeats if one.first == variant)]


def _places(view: View, variant: Variant) -> list[tuple[float, float]]:
    """Leakage and utility of every run that has both."""
    found = []
    for one in _repeats(view, variant):
        leaks = view.results.cells(one, view.metric, view.strongest(variant), view.attack)
        useful = view.results.cells(one, view.utility.metric)
        found += [(leaks[target].value, useful[target].value) for target in leaks if target in useful]
    return found


def _table(view: View) -> PageTable:
    heads = ("Model", "Of", "Mean", "Between trainings", "Between calibration sets", "Between seeds", "One cluster?")
    labels = {variant.name: (view.label(variant), variant.group) for variant in view.results.variants}
    rows = []
    for one in view.measures.draws:
        useful = one.metric == view.utility.metric
        step = view.utility.step if useful else points(view.bound)
        name = view.utility.name if useful else measure(view.bound)
        parts = (_deviation(part, step) for part in (one.training, one.calibration, one.seed))
        dip = PageCell(p_value(one.dip_p), f"dip {one.dip:.3f}", one.dip_p < LEVEL)
        mean = view.utility.text(one.mean) if useful else f"{step.size(one.mean)} %"
        rows.append(
            PageRow(labels[one.variant][0], labels[one.variant][1], (PageCell(name), PageCell(mean), *parts, dip))
        )
    return PageTable(heads, tuple(rows))


def _deviation(part: Rate, step: Step) -> PageCell:
    if part.value != part.value:
        return PageCell("–", "not told apart")
    return PageCell(f"{step.size(part.value)}{step.unit}", f"{step.size(part.low)} to {step.size(part.high)}")


def _sentences(view: View) -> Iterator[str]:
    """What was repeated, and where runs fall apart."""
    labels = {variant.name: view.label(variant) for variant in view.results.variants}

    def told(one: Draws) -> str:
        name = view.utility.name if one.metric == view.utility.metric else measure(view.bound)
        return f"{name} of {labels[one.variant]}"

    targets, repeats = (max(getattr(one, name) for one in view.measures.draws) for name in ("targets", "repeats"))
    yield f"Each of {counted(targets, 'target')} was quantized up to {repeats} times."
    apart = [told(one) for one in view.measures.draws if one.dip_p < LEVEL]
    yield (
        f"Hartigan’s dip test finds more than one cluster in {'; '.join(apart)}."
        if apart
        else "Hartigan’s dip test finds no two clusters in any of them."
    )
