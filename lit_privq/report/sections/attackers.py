"""Each attacker's strongest attack on each variant, side by side, and the largest of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from lit_privq.artifacts.results import Cell
from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.table import Cell as Text
from lit_privq.report.table import Row, Table
from lit_privq.report.words import capitalized, decimals, label, measure, percent, ranged, title


@dataclass(frozen=True)
class Best:
    """An attacker's strongest attack on a variant, and its mean over targets with the interval."""

    attack: str
    rate: Cell


@dataclass(frozen=True)
class Attackers:
    """The section: what it says first, and the table."""

    sentence: str
    table: Table


def best(focus: Focus, measured: Measured) -> dict[str, dict[Variant, Best]]:
    """By attacker and variant, both in the file's order."""
    found: dict[str, dict[Variant, Best]] = {}
    for key, rate in measured.means.items():
        if key.metric == focus.metric and isfinite(rate.value):
            of_attacker = found.setdefault(key.attacker, {})
            if key.variant not in of_attacker or rate.value > of_attacker[key.variant].rate.value:
                of_attacker[key.variant] = Best(key.attack, rate)
    return found


def attackers(focus: Focus, measured: Measured) -> Attackers | None:
    """None where metrics.json is missing."""
    found = best(focus, measured)
    if not found:
        return None
    variants = [variant for variant in focus.results.variants if any(variant in each for each in found.values())]
    several = len(found) > 1
    heads = ("Model", *(("Maximum",) if several else ()), *(capitalized(f"{name} attacker".strip()) for name in found))
    rows = (Row(label(variant), variant.method, tuple(_cells(focus, found, variant))) for variant in variants)
    return Attackers(_sentence(focus, found, variants[0]), Table(heads, tuple(rows)))


def _maximum(found: dict[str, dict[Variant, Best]], variant: Variant) -> tuple[str, Best]:
    """The attacker whose best attack finds most, and that attack."""
    rates = [(name, each[variant]) for name, each in found.items() if variant in each]
    return max(rates, key=lambda pair: pair[1].rate.value)


def _cells(focus: Focus, found: dict[str, dict[Variant, Best]], variant: Variant) -> Iterator[Text]:
    """One variant: the largest of all, where there are several attackers, then each of them."""
    if len(found) > 1:
        attacker, top = _maximum(found, variant)
        yield Text(percent(top.rate.value, decimals(focus.bound)), attacker, True)
    yield from (_cell(focus, each.get(variant)) for each in found.values())


def _cell(focus: Focus, found: Best | None) -> Text:
    """A rate, its interval and the attack that reached it."""
    if found is None:
        return Text("–")
    digits = decimals(focus.bound)
    note = " · ".join(part for part in (ranged(found.rate.low, found.rate.high, digits), title(found.attack)) if part)
    return Text(percent(found.rate.value, digits), note)


def _sentence(focus: Focus, found: dict[str, dict[Variant, Best]], variant: Variant) -> str:
    """The first variant's maximum."""
    attacker, top = _maximum(found, variant)
    digits = decimals(focus.bound)
    interval = ranged(top.rate.low, top.rate.high, digits)
    by = f"{title(top.attack)}" + (f", {attacker} attacker" if len(found) > 1 else "")
    return (
        f"{label(variant)}: {measure(focus.bound)}, at most {percent(top.rate.value, digits)}"
        f"{f' ({interval})' if interval else ''}, by {by}."
    )
