"""Lower bounds on the epsilon of differential privacy that the attacks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isnan

from lit_privq.artifacts.measures import PrivacyBounds
from lit_privq.artifacts.results import SLICE, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable, attackers
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, counted, spaced


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no bound was computed."""
    found = {
        name: {
            v: known
            for v in view.results.variants
            if (known := view.measures.bounds.get(Key(v, "epsilon", name, view.attack)))
        }
        for name in attackers(view.results)
    }
    found = {name: bounds for name, bounds in found.items() if bounds}
    variants = [variant for variant in view.results.variants if any(variant in each for each in found.values())]
    if not variants:
        return None
    delta = next(iter(next(iter(found.values())).values())).delta
    columns = {capitalized(f"{name} attacker".strip()): bounds for name, bounds in found.items()}
    if worst := _worst(view, variants):
        columns[f"{capitalized(spaced(view.focus.worst))} alone"] = worst
    heads = ["Model", *columns]
    cells = {v: [_cell(each.get(v)) for each in columns.values()] for v in variants}
    guaranteed = {v: max(view.results.values(v, "accountant_epsilon").values(), default=None) for v in variants}
    if any(guaranteed.values()):
        heads.append("Guaranteed by training")
        for v, most in guaranteed.items():
            cells[v].append(PageCell("–" if most is None else f"at most {most:.3g}"))
    rows = [PageRow(view.label(v), v.group, tuple(cells[v])) for v in variants]
    return Section(
        "epsilon",
        "What it means for differential privacy",
        {
            "sentence": _sentence(view, found, variants[0]),
            "table": PageTable(tuple(heads), tuple(rows)),
            "delta": delta,
            "guaranteed": any(guaranteed.values()),
        },
    )


def _worst(view: View, variants: Sequence[Variant]) -> dict[Variant, PrivacyBounds]:
    """Of the worst-case slice before its own non-members, by the attacker who is strongest there."""
    keys = {v: view.focus.worst_rate(v, SLICE)._replace(metric="epsilon") for v in variants}
    return {v: view.measures.bounds[key] for v, key in keys.items() if key in view.measures.bounds}


def _cell(bounds: PrivacyBounds | None) -> PageCell:
    """The targets' bounds on epsilon, by both ways of counting where there are two, and on mu."""
    if bounds is None:
        return EMPTY
    notes = [f"μ {_range(bounds.mu)}"] if max(bounds.mu) > 0 else []
    if not isnan(bounds.one_run[0]):
        notes.append(f"one run: ε {_range(bounds.one_run)}")
    if max(bounds.epsilon) == 0:
        return PageCell("0", "; ".join(notes) or "no bound")
    return PageCell(f"at least {_range(bounds.epsilon)}", "; ".join(notes))


def _range(values: tuple[float, ...] | list[float], digits: int = 2) -> str:
    """The smallest and the largest, once where they look alike.

    >>> _range([0.5, 1.25]), _range([0.5, 0.501])
    ('0.50 to 1.25', '0.50')
    """
    return " to ".join(dict.fromkeys(f"{value:.{digits}f}" for value in (min(values), max(values))))


def _sentence(view: View, found: Mapping[str, Mapping[Variant, PrivacyBounds]], variant: Variant) -> str:
    """What the first variant's bounds say."""
    bounds = next(each[variant] for each in found.values() if variant in each).epsilon
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
