"""Captions of figures that can be copied into a paper: what is shown, and how it was measured."""

from __future__ import annotations

from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.provenance import provenance
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, counted, measure

_FACTS = ("Shadow models", "Training seed", "Membership seed")


def caption(drawing: Drawing, setting: str) -> str:
    """What the figure shows and how it was measured."""
    shown = drawing.caption or drawing.alt.replace("; the table has the numbers", "")
    return f"{shown} {setting}"


def setting(view: View, inputs: Inputs) -> str:
    """Data set, networks, models and seeds, the measure of leakage and its interval."""
    results = view.results
    facts = [f"{name.lower()}: {value}" for name, value in provenance(inputs.study).facts if name in _FACTS]
    models = "; ".join([", ".join(filter(None, (results.dataset, results.net))), *facts])
    return (
        f"Data: {models}; {counted(len(results.targets), 'target model')}. Leakage: {capitalized(measure(view.bound))} "
        f"under {view.attack_title(view.attack)} unless another attack is named. Intervals: 95 % {view.scope}."
    )
