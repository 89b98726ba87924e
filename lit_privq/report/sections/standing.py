"""Which examples stand out, and which of them become safe."""

from __future__ import annotations

from collections.abc import Iterator

from lit_privq.artifacts.measures import Standing
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import percent


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no shadow models were looked at."""
    standing = view.measures.standing
    found = {variant: standing[variant.name] for variant in view.results.variants if variant.name in standing}
    if not found:
        return None
    quantized = {variant: one for variant, one in found.items() if variant.quantized}
    return Section(
        "standing",
        "Which examples become safe?" if quantized else "How many examples stand out?",
        {"sentences": list(_sentences(view, found)), "table": _table(view, quantized) if quantized else None},
    )


def _table(view: View, found: dict[Variant, Standing]) -> PageTable:
    """A row for each variant whose shadows were quantized as it was."""
    heads = ("Model", "Stand out", "Made safe", "Newly stand out", "Same most exposed 5 %", "Rank correlation")
    degenerate = any(one.degenerate for one in found.values())
    return PageTable(
        heads + (("Without variance",) if degenerate else ()),
        tuple(PageRow(view.label(variant), variant.group, _cells(one, degenerate)) for variant, one in found.items()),
    )


def _cells(one: Standing, degenerate: bool) -> tuple[PageCell, ...]:
    """One variant's."""
    first = ", ".join(map(str, one.safe_first[:3]))
    cells = (
        PageCell(str(one.standing_out)),
        PageCell(f"{one.made_safe} of {one.before}", f"first {first}" if first else ""),
        PageCell(str(_new(one))),
        PageCell(percent(one.overlap, 0)),
        PageCell(f"{one.rank_correlation:.2f}"),
    )
    return (*cells, PageCell(str(one.degenerate))) if degenerate else cells


def _new(one: Standing) -> int:
    """How many stand out that did not at full precision."""
    return one.standing_out - (one.before - one.made_safe)


def _sentences(view: View, found: dict[Variant, Standing]) -> Iterator[str]:
    """How many stand out, how many become safe where precision is lowest, and what cannot be judged."""
    first = next(iter(found.values()))
    among = f" of {first.examples}" if first.examples else ""
    yield (
        f"{first.before}{among} examples stand out at full precision: models that trained on them are more than one "
        "standard deviation more confident than models that did not."
    )
    quantized = [variant for variant in found if variant.quantized]
    if quantized:
        safest = max(quantized, key=lambda variant: found[variant].made_safe)
        one = found[safest]
        yield (
            f"{view.label(safest)} makes most of them safe: {one.made_safe} no longer stand out, and {_new(one)} "
            "others newly do."
        )
    if first.degenerate:
        yield (
            f"{first.degenerate} examples have the same confidence in all models of a group: attacks that "
            "estimate a variance for each example have none to divide by there."
        )
