"""Leakage and utility class by class: which classes pay for compression."""

from __future__ import annotations

from lit_privq.artifacts.measures import Rate
from lit_privq.artifacts.results import CLASS, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, measure, percent

MOST = 20  # classes; more would make no figure


def section(view: View, inputs: Inputs) -> Section | None:
    """None where classes are no slices, or too many."""
    names = [name for name in view.measures.slices if name.startswith(CLASS)]
    shown = _variants(view)
    leaks = {name: _leaks(view, name, shown) for name in names}
    leaks = {name.removeprefix(CLASS): rates for name, rates in leaks.items() if rates}
    if not leaks or len(leaks) > MOST:
        return None
    label = capitalized(measure(view.bound))
    drawings = [Drawing("class_leakage", figures.classes(view, label, leaks, "Leakage"), _alt(view, leaks))]
    useful = {name: _useful(view, name, shown) for name in names}
    useful = {name.removeprefix(CLASS): rates for name, rates in useful.items() if rates}
    if useful:
        figure = figures.classes(view, view.utility.heading, useful)
        drawings.append(Drawing("class_utility", figure, f"{view.utility.heading} by class."))
    values = {"drawn": [drawing.name for drawing in drawings], "sentence": _sentence(view, leaks)}
    return Section("classes", "Class by class", values, tuple(drawings))


def _variants(view: View) -> list[Variant]:
    """Full precision, and the variants that the headline is about."""
    named = (view.focus.least_costly, view.focus.largest)
    chosen = [v for v in view.results.variants if v == view.results.full_precision or v.name in named]
    quantized = [v for v in view.shown if v.quantized]
    return chosen if len(chosen) > 1 else [*chosen, *quantized[-1:]]


def _leaks(view: View, name: str, variants: list[Variant]) -> dict[Variant, Rate]:
    keys = {variant: view.focus.key(variant)._replace(slice=name) for variant in variants}
    return {variant: rate for variant, key in keys.items() if (rate := view.rate(key))}


def _useful(view: View, name: str, variants: list[Variant]) -> dict[Variant, Rate]:
    keys = {variant: Key(variant, view.utility.metric, slice=name) for variant in variants}
    return {variant: rate for variant, key in keys.items() if (rate := view.rate(key))}


def _sentence(view: View, leaks: dict[str, dict[Variant, Rate]]) -> str:
    """The most and the least exposed class of the first variant."""
    first = next(iter(next(iter(leaks.values()))))
    rates = {name: each[first].value for name, each in leaks.items() if first in each}
    high, low = max(rates, key=lambda name: rates[name]), min(rates, key=lambda name: rates[name])
    return (
        f"{view.label(first)}: {measure(view.bound)} is highest for class {high} ({percent(rates[high])}) and lowest "
        f"for class {low} ({percent(rates[low])})."
    )


def _alt(view: View, leaks: dict[str, dict[Variant, Rate]]) -> str:
    return f"{capitalized(measure(view.bound))} by class. {_sentence(view, leaks)}"
