"""Utility against leakage: the paper's Fig. 1 and how to read it."""

from __future__ import annotations

from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import attackers
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, joined

_HOLD = {
    "unaware": "full-precision shadow models (unaware)",
    "adaptive": "shadow models quantized as the target was (adaptive)",
    "paired": "the target’s full-precision parent, too (paired)",
}


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nobody measured how useful the models are."""
    if not view.focus.utility:
        return None
    alt = f"{capitalized(view.utility.name)} against leakage, a point for each precision and method."
    values = {
        "hold": ", ".join(_HOLD[name] for name in attackers(view.results) if name in _HOLD),
        "mixed": any(not variant.uniform for variant in view.results.variants),
        "guessing": joined([view.label(variant) for variant in view.guessing]),
    }
    return Section(
        "tradeoff",
        "How to read the figures",
        values,
        (Drawing("tradeoff", figures.tradeoff(view), alt),),
    )
