"""Leakage with and without the examples that calibrated a quantized model."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

from lit_privq.artifacts.measures import LEVEL, SliceGap, TargetMean
from lit_privq.artifacts.results import NOT_CALIBRATION
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
        variant: (mean, gap)
        for variant in view.results.variants
        for key in [view.focus.key(variant)._replace(slice=NOT_CALIBRATION)]
        if (gap := view.measures.gaps.get(key)) and not isnan((mean := view.measures.means[key]).value)
    }
    if not found:
        return None
    rows = (PageRow(view.label(v), v.group, _cells(view, v, *each)) for v, each in found.items())
    heads = ("Model", "All members", "Without calibration examples", "Change", "Members left")
    gaps = {variant: gap for variant, (_, gap) in found.items()}
    shown = {"sentence": _sentence(view, gaps), "table": PageTable(heads, tuple(rows))}
    return Section("calibrated", "Without the calibration examples", shown)


def _cells(view: View, variant: Variant, without: TargetMean, gap: SliceGap) -> tuple[PageCell, ...]:
    """Both rates, and their difference with its interval."""
    digits, whole = decimals(view.bound), view.leak(variant)
    return (
        PageCell(percent(whole.value, digits) if whole else "–"),
        PageCell(percent(without.value, digits)),
        change_cell(gap.change, points(view.bound), p=True),
        PageCell(str(gap.members)),
    )


def _sentence(view: View, found: Mapping[Variant, SliceGap]) -> str:
    """Whether anything depends on them, and how few members decide."""
    least = counted(min(gap.members for gap in found.values()), "member")
    few = f"Without them {least} or more are left to judge a target on"
    verdicts = {variant: gap.change.verdict for variant, gap in found.items()}
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
