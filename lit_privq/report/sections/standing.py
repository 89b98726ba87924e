"""Which examples stand out, and which of them become safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured, Standing
from lit_privq.report.table import Cell, Row, Table
from lit_privq.report.words import label, percent


@dataclass(frozen=True)
class Examples:
    """The section: what it says first, and the table, None where nothing is compared."""

    sentences: tuple[str, ...]
    table: Table | None


def examples(focus: Focus, measured: Measured) -> Examples | None:
    """None where no shadow models were looked at."""
    found = {variant: measured.standing[variant] for variant in focus.results.variants if variant in measured.standing}
    if not found:
        return None
    quantized = {variant: one for variant, one in found.items() if variant.quantized}
    return Examples(tuple(_sentences(found)), _table(quantized) if quantized else None)


def _table(found: dict[Variant, Standing]) -> Table:
    """A row for each variant whose shadows were quantized as it was."""
    heads = ("Model", "Stand out", "Made safe", "Newly stand out", "Most exposed twentieth, the same", "Ranks agree")
    degenerate = any(one.degenerate for one in found.values())
    return Table(
        heads + (("No spread",) if degenerate else ()),
        tuple(Row(label(variant), variant.method, _cells(one, degenerate)) for variant, one in found.items()),
    )


def _cells(one: Standing, degenerate: bool) -> tuple[Cell, ...]:
    """One variant's."""
    first = ", ".join(map(str, one.safe_first[:3]))
    cells = (
        Cell(str(one.standing_out)),
        Cell(f"{one.made_safe} of {one.before}", f"first {first}" if first else ""),
        Cell(str(_new(one))),
        Cell(percent(one.overlap, 0)),
        Cell(f"{one.rank_correlation:.2f}"),
    )
    return (*cells, Cell(str(one.degenerate))) if degenerate else cells


def _new(one: Standing) -> int:
    """How many stand out that did not at full precision."""
    return one.standing_out - (one.before - one.made_safe)


def _sentences(found: dict[Variant, Standing]) -> Iterator[str]:
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
            f"Most become safe with {label(safest)}: {one.made_safe} no longer stand out, while {_new(one)} newly do."
        )
    if first.degenerate:
        yield (
            f"{first.degenerate} examples have the same confidence in all models of a group: attacks with a variance "
            "for each example divide by nothing there."
        )
