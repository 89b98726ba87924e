"""Leakage with and without the examples that calibrated a quantized model."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Without
from lit_privq.report.sections.differences import FEW, LEVEL, change
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import counted, decimals, joined, percent


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no model was calibrated; the strongest attacker of each variant."""
    measured = inputs.measured
    found = {
        variant: (measured.means[key].value, without)
        for variant in view.results.variants
        if (key := Key(variant, view.metric, view.strongest(variant), view.attack)) in measured.means
        and (without := measured.without_calibration.get(key))
        and isfinite(without.mean)
    }
    if not found:
        return None
    digits = decimals(view.bound)
    rows = (
        PageRow(view.label(variant), variant.method, _cells(whole, one, digits))
        for variant, (whole, one) in found.items()
    )
    heads = ("Model", "All members", "Without calibration examples", "Change", "Members left")
    sentence = _sentence(view, {variant: one for variant, (_, one) in found.items()})
    table = PageTable(heads, tuple(rows))
    return Section("calibrated", "Without the calibration examples", {"sentence": sentence, "table": table})


def _cells(whole: float, without: Without, digits: int) -> tuple[PageCell, ...]:
    """Both rates, and their difference with its interval."""
    changed = change(without.change, digits, without.change.p < LEVEL)
    return (
        PageCell(percent(whole, digits)),
        PageCell(percent(without.mean, digits)),
        changed,
        PageCell(str(without.members)),
    )


def _sentence(view: View, found: Mapping[Variant, Without]) -> str:
    """Whether anything depends on them, and how few members decide."""
    least = counted(min(without.members for without in found.values()), "member")
    few = f"Without them {least} or more are left to judge a target on"
    differs = [variant for variant, without in found.items() if without.change.p < LEVEL]
    if not any(isfinite(without.change.p) for without in found.values()):
        return f"{few}; one target does not say whether the change is more than luck."
    if not differs:
        return f"{few}, and leakage changes by no more than luck explains."
    names = f" ({joined([view.label(variant) for variant in differs])})" if len(differs) <= FEW else ""
    luck = max(1, round(LEVEL * len(found)))
    return (
        f"{few}, and leakage changes with p below 0.05 for {len(differs)} of {counted(len(found), 'variant')}{names}; "
        f"luck alone makes about {luck} of them."
    )
