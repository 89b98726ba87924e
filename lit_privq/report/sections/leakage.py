"""Leakage by method, bits and attacker, and utility beside it: the paper's Figs. 2 and 3."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import attackers
from lit_privq.report.view import View
from lit_privq.report.words import capitalized


def section(view: View, inputs: Inputs) -> Section:
    """Always there: every audit measures leakage. The headline's attack first, then utility; other attacks folded."""
    leaks, utility = list(_leaks(view)), list(_utility(view))
    first, others = [*leaks[:1], *utility], leaks[1:]
    values = {
        "first": [drawing.name for drawing in first],
        "others": [drawing.name for drawing in others],
        "several": len(attackers(view.results)) > 1,
    }
    return Section("leakage", "Leakage by method and precision", values, (*first, *others))


def _leaks(view: View) -> Iterator[Drawing]:
    """A figure for each attack of the view."""
    for attack in view.focus.attacks:
        alt = f"Leakage by method, bits and attacker under {view.attack_title(attack)}; the table has the numbers."
        yield Drawing(f"leakage_{re.sub(r'[^A-Za-z0-9_.-]+', '-', attack)}", figures.leakage(view, attack), alt)


def _utility(view: View) -> Iterator[Drawing]:
    """A figure of utility, where it was measured."""
    if view.focus.utility:
        alt = f"{capitalized(view.utility.name)} by method and bits; the table has the numbers."
        yield Drawing(view.utility.metric, figures.useful(view), alt)
