"""Lower bounds on the epsilon of differential privacy that the attacks show."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable, attackers
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, counted


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no bound was computed."""
    found = {
        name: {
            v: known.lower_bounds
            for v in view.results.variants
            if (known := view.measures.epsilon.get(Key(v, "epsilon", name, view.attack)))
        }
        for name in attackers(view.results)
    }
    found = {name: bounds for name, bounds in found.items() if bounds}
    variants = [variant for variant in view.results.variants if any(variant in each for each in found.values())]
    if not variants:
        return None
    heads = ("Model", *(capitalized(f"{name} attacker".strip()) for name in found))
    rows = [PageRow(view.label(v), v.method, tuple(_cell(each.get(v)) for each in found.values())) for v in variants]
    return Section(
        "epsilon",
        "What it means for differential privacy",
        {"sentence": _sentence(view, found, variants[0]), "table": PageTable(heads, tuple(rows))},
    )


def _cell(bounds: tuple[float, ...] | None) -> PageCell:
    """The targets' bounds, and what they mean for the odds."""
    if bounds is None:
        return PageCell("–")
    if max(bounds) == 0:
        return PageCell("0", "no bound")
    return PageCell(f"at least {_range(bounds)}", f"odds times {_range([exp(bound) for bound in bounds], 1)}")


def _range(values: tuple[float, ...] | list[float], digits: int = 2) -> str:
    """The smallest and the largest, once where they look alike.

    >>> _range([0.5, 1.25]), _range([0.5, 0.501])
    ('0.50 to 1.25', '0.50')
    """
    return " to ".join(dict.fromkeys(f"{value:.{digits}f}" for value in (min(values), max(values))))


def _sentence(view: View, found: Mapping[str, Mapping[Variant, tuple[float, ...]]], variant: Variant) -> str:
    """What the first variant's bounds say."""
    bounds = next(each[variant] for each in found.values() if variant in each)
    if max(bounds) == 0:
        return (
            f"{view.label(variant)}: the attack gives no lower bound on ε. The attack may be weak or the examples few: "
            "this is no guarantee."
        )
    count = f" in each of these {counted(len(bounds), 'target')}" if len(bounds) > 1 else ""
    if min(bounds) == 0:
        return (
            f"{view.label(variant)}: on the most exposed target ε is at least {max(bounds):.2f}; on others the "
            "attack gives no lower bound."
        )
    return (
        f"{view.label(variant)}: the attack shows that ε is at least {min(bounds):.2f}{count}: training on an example "
        f"can multiply an attacker’s odds by {exp(min(bounds)):.1f} or more."
    )
