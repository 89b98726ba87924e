"""Leakage with and without the examples that calibrated a quantized model."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

from lit_privq.artifacts.measures import LEVEL, WithoutCalibration
from lit_privq.artifacts.variant import Variant
from lit_privq.report.changes import change_cell
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import FEW, counted, decimals, joined, percent, points


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no model was calibrated; the strongest attacker of each variant."""
    found = {
        variant: without
        for variant in view.results.variants
        if (without := view.measures.without_calibration.get(view.focus.key(variant))) and not isnan(without.mean)
    }
    if not found:
        return None
    rows = (PageRow(view.label(v), v.method, _cells(view, v, without)) for v, without in found.items())
    heads = ("Model", "All members", "Without calibration examples", "Change", "Members left")
    shown = {"sentence": _sentence(view, found), "table": PageTable(heads, tuple(rows))}
    return Section("calibrated", "Without the calibration examples", shown)


def _cells(view: View, variant: Variant, without: WithoutCalibration) -> tuple[PageCell, ...]:
    """Both rates, and their difference with its interval."""
    digits, whole = decimals(view.bound), view.leak(variant)
    return (
        PageCell(percent(whole.value, digits) if whole else "–"),
        PageCell(percent(without.mean, digits)),
        change_cell(without.change, points(view.bound), p=True),
        PageCell(str(without.members_left)),
    )


def _sentence(view: View, found: Mapping[Variant, WithoutCalibration]) -> str:
    """Whether anything depends on them, and how few members decide."""
    least = counted(min(without.members_left for without in found.values()), "member")
    few = f"Without them {least} or more are left to judge a target on"
    verdicts = {variant: without.change.verdict for variant, without in found.items()}
    differs = [variant for variant, verdict in verdicts.items() if verdict in ("lower", "higher")]
    if set(verdicts.values()) == {"untested"}:
        return f"{few}; one target does not say whether the change is more than chance."
    if not differs:
        return f"{few}, and no change of leakage is shown."
    names = f" ({joined([view.label(variant) for variant in differs])})" if len(differs) <= FEW else ""
    by_chance = max(1, round(LEVEL * len(found)))
    return (
        f"{few}, and leakage changes with p below {LEVEL:g} for {len(differs)} of {counted(len(found), 'variant')}"
        f"{names}; chance alone makes about {by_chance} of them."
    )
