"""What a last layer at a precision of its own costs and saves: the paper's Fig. 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from lit_privq.artifacts.measures import Rate
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, measure, points


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no variant has a last layer of its own beside one that has not."""
    twins = {
        variant: twin
        for variant in view.shown
        if variant.decoupled and (twin := replace(variant, last_bits=variant.bits)) in view.results.variants
    }
    drawings = tuple(_drawings(view, twins))
    return Section("decoupled", "The last layer apart", {}, drawings) if drawings else None


def _drawings(view: View, twins: Mapping[Variant, Variant]) -> Iterator[Drawing]:
    """Utility and leakage of each pair, where both were measured."""
    if pairs := _pairs(twins, lambda variant: view.rate(Key(variant, view.utility.metric))):
        title = f"{_subject(pairs)} changes {view.utility.name} by {_span(pairs, view.utility.step.signed)}"
        alt = f"{capitalized(view.utility.name)} with the last layer at a precision of its own, and without"
        figure = figures.last_layer(view, f"{title}{view.utility.step.unit}", pairs)
        yield Drawing(f"decoupled_{view.utility.metric}", figure, f"{alt}; the table has the numbers.")
    if pairs := _pairs(twins, lambda variant: view.rate(view.focus.key(variant))):
        step = points(view.bound)
        title = f"{_subject(pairs)} changes {measure(view.bound)} by {_span(pairs, step.signed)}{step.unit}"
        alt = "Leakage to the strongest attacker with the last layer at a precision of its own, and without"
        yield Drawing(
            "decoupled_leakage",
            figures.last_layer(view, title, pairs, leaks=True),
            f"{alt}; the table has the numbers.",
        )


def _pairs(
    twins: Mapping[Variant, Variant], rate: Callable[[Variant], Rate | None]
) -> dict[Variant, tuple[Rate, Rate]]:
    """A mean without and with the last layer apart, by the variant that has it apart."""
    found = {variant: (rate(twin), rate(variant)) for variant, twin in twins.items()}
    return {variant: (alike, apart) for variant, (alike, apart) in found.items() if alike and apart}


def _subject(pairs: Mapping[Variant, tuple[Rate, Rate]]) -> str:
    """What changes something: the last layer at its precision, where that is one."""
    last = {variant.last_bits for variant in pairs}
    return f"The last layer at {last.pop():g} bits" if len(last) == 1 else "A last layer apart"


def _span(pairs: Mapping[Variant, tuple[Rate, Rate]], signed: Callable[[float], str]) -> str:
    """The least and the largest difference of the means."""
    found = sorted(apart.value - alike.value for alike, apart in pairs.values())
    return " to ".join(dict.fromkeys(map(signed, (found[0], found[-1]))))
