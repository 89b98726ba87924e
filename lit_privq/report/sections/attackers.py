"""Each attacker's strongest attack on each variant, side by side, and the largest of all."""

from __future__ import annotations

from collections.abc import Iterator

from lit_privq.artifacts.measures import Rate
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable, attackers
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, decimals, measure, percent, ranged


def section(view: View, inputs: Inputs) -> Section:
    """Always there: every audit measures leakage."""
    variants = [variant for variant in view.results.variants if view.focus.best.get(variant.name)]
    names = [name for name in attackers(view.results) if any(name in view.focus.best[v.name] for v in variants)]
    rates = {name: {v: rate for v in variants if (rate := _rate(view, v, name))} for name in names}
    alt = "Leakage to the best of each attacker’s attacks, with intervals; the table has the numbers."
    return Section(
        "attackers",
        "The strongest of all attacks",
        {"sentence": _sentence(view, variants[0]), "table": _table(view, variants, names)},
        (Drawing("strongest", figures.strongest(view, rates), alt),),
    )


def _rate(view: View, variant: Variant, attacker: str) -> Rate | None:
    """Leakage to an attacker's best attack on a variant; None where they did not attack it."""
    attack = view.focus.best[variant.name].get(attacker)
    return None if attack is None else view.rate(Key(variant, view.metric, attacker, attack))


def _table(view: View, variants: list[Variant], names: list[str]) -> PageTable:
    """A row for each variant, a column for each attacker."""
    maximum = ("Maximum",) if len(names) > 1 else ()
    heads = ("Model", *maximum, *(capitalized(f"{name} attacker".strip()) for name in names))
    return PageTable(heads, tuple(PageRow(view.label(v), v.group, tuple(_cells(view, v, names))) for v in variants))


def _cells(view: View, variant: Variant, names: list[str]) -> Iterator[PageCell]:
    """One variant: the largest of all, where there are several attackers, then each of them."""
    strongest = next(iter(view.focus.best[variant.name]))
    top = _rate(view, variant, strongest)
    if len(names) > 1 and top is not None:
        yield PageCell(percent(top.value, decimals(view.bound)), strongest, True)
    yield from (_cell(view, variant, name) for name in names)


def _cell(view: View, variant: Variant, attacker: str) -> PageCell:
    """A rate, its interval and the attack that reached it."""
    rate, digits = _rate(view, variant, attacker), decimals(view.bound)
    if rate is None:
        return EMPTY
    attack = view.attack_title(view.focus.best[variant.name][attacker])
    note = " · ".join(part for part in (ranged(rate.low, rate.high, digits), attack) if part)
    return PageCell(percent(rate.value, digits), note)


def _sentence(view: View, variant: Variant) -> str:
    """The first variant's maximum."""
    (attacker, attack), digits = next(iter(view.focus.best[variant.name].items())), decimals(view.bound)
    rate = view.rate(Key(variant, view.metric, attacker, attack))
    assert rate is not None
    interval = ranged(rate.low, rate.high, digits)
    by = view.attack_title(attack) + (f", {attacker} attacker" if len(attackers(view.results)) > 1 else "")
    return (
        f"{view.label(variant)}: {measure(view.bound)}, at most {percent(rate.value, digits)}"
        f"{f' ({interval} {view.scope})' if interval else ''}, by {by}."
    )
