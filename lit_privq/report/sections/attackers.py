"""Each attacker's strongest attack on each variant, side by side, and the largest of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from lit_privq.artifacts.results import Cell
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Measured
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, decimals, measure, percent, ranged


@dataclass(frozen=True)
class BestAttack:
    """An attacker's strongest attack on a variant, and its mean over targets with the interval."""

    attack: str
    rate: Cell


def best(view: View, measured: Measured) -> dict[str, dict[Variant, BestAttack]]:
    """By attacker and variant, both in the file's order."""
    found: dict[str, dict[Variant, BestAttack]] = {}
    for key, rate in measured.means.items():
        if key.metric == view.metric and isfinite(rate.value):
            of_attacker = found.setdefault(key.attacker, {})
            if key.variant not in of_attacker or rate.value > of_attacker[key.variant].rate.value:
                of_attacker[key.variant] = BestAttack(key.attack, rate)
    return found


def section(view: View, inputs: Inputs) -> Section | None:
    """None where metrics.json is missing."""
    found = best(view, inputs.measured)
    if not found:
        return None
    variants = [variant for variant in view.results.variants if any(variant in each for each in found.values())]
    return Section(
        "attackers",
        "The strongest of all attacks",
        {"sentence": _sentence(view, found, variants[0]), "table": _table(view, found, variants)},
        (_drawing(view, found),),
    )


def _drawing(view: View, found: dict[str, dict[Variant, BestAttack]]) -> Drawing:
    """Each attacker's best attack on each variant."""
    rates = {attacker: {v: top.rate for v, top in variants.items()} for attacker, variants in found.items()}
    alt = "Leakage to the best of each attacker’s attacks, with intervals; the table has the numbers."
    return Drawing("strongest", figures.strongest(view, rates), alt)


def _table(view: View, found: dict[str, dict[Variant, BestAttack]], variants: list[Variant]) -> PageTable:
    """A row for each variant, a column for each attacker."""
    maximum = ("Maximum",) if len(found) > 1 else ()
    heads = ("Model", *maximum, *(capitalized(f"{name} attacker".strip()) for name in found))
    rows = (PageRow(view.label(v), v.method, tuple(_cells(view, found, v))) for v in variants)
    return PageTable(heads, tuple(rows))


def _maximum(found: dict[str, dict[Variant, BestAttack]], variant: Variant) -> tuple[str, BestAttack]:
    """The attacker whose best attack finds most, and that attack."""
    rates = [(name, each[variant]) for name, each in found.items() if variant in each]
    return max(rates, key=lambda pair: pair[1].rate.value)


def _cells(view: View, found: dict[str, dict[Variant, BestAttack]], variant: Variant) -> Iterator[PageCell]:
    """One variant: the largest of all, where there are several attackers, then each of them."""
    if len(found) > 1:
        attacker, top = _maximum(found, variant)
        yield PageCell(percent(top.rate.value, decimals(view.bound)), attacker, True)
    yield from (_cell(view, each.get(variant)) for each in found.values())


def _cell(view: View, found: BestAttack | None) -> PageCell:
    """A rate, its interval and the attack that reached it."""
    if found is None:
        return PageCell("–")
    digits = decimals(view.bound)
    note = " · ".join(
        part for part in (ranged(found.rate.low, found.rate.high, digits), view.attack_title(found.attack)) if part
    )
    return PageCell(percent(found.rate.value, digits), note)


def _sentence(view: View, found: dict[str, dict[Variant, BestAttack]], variant: Variant) -> str:
    """The first variant's maximum."""
    attacker, top = _maximum(found, variant)
    digits = decimals(view.bound)
    interval = ranged(top.rate.low, top.rate.high, digits)
    by = f"{view.attack_title(top.attack)}" + (f", {attacker} attacker" if len(found) > 1 else "")
    return (
        f"{view.label(variant)}: {measure(view.bound)}, at most {percent(top.rate.value, digits)}"
        f"{f' ({interval})' if interval else ''}, by {by}."
    )
