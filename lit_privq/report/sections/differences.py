"""What each precision changes, tested on the same targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from lit_privq.artifacts.results import Cell, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.headline import least_costly
from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Difference, Measured
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import counted, decimals, joined, measure, p_value, signed

LEVEL = 0.05
FEW = 3  # as many variants get a sentence each


def differences(view: View, measured: Measured) -> dict[str, dict[Variant, Difference]]:
    """Those of the page's measure and attack, by attacker and variant."""
    found: dict[str, dict[Variant, Difference]] = {}
    for key, difference in measured.differences.items():
        if (key.metric, key.attack) == (view.metric, view.attack) and isfinite(difference.value):
            found.setdefault(key.attacker, {})[key.variant] = difference
    return found


def section(view: View, inputs: Inputs) -> Section | None:
    """None where nothing was compared."""
    found = differences(view, inputs.measured)
    if not found:
        return None
    corrected = _corrected(_strongest(view, found))
    return Section(
        "differences",
        "Is the change more than luck?",
        {"table": _table(view, inputs.measured, found, corrected)},
        (_drawing(view, found),),
    )


def sentences(view: View, measured: Measured) -> list[str]:
    """What the headline says of the differences; nothing where nothing was compared."""
    found = differences(view, measured)
    strongest = _strongest(view, found)
    return list(_sentences(view, strongest, _corrected(strongest))) if found else []


def _strongest(view: View, found: Mapping[str, Mapping[Variant, Difference]]) -> dict[Variant, Difference]:
    """The differences to each variant's strongest attacker, where they were tested."""
    return {
        variant: difference
        for variant in view.results.variants
        if (difference := found.get(view.strongest(variant), {}).get(variant)) and isfinite(difference.p)
    }


def _corrected(strongest: Mapping[Variant, Difference]) -> dict[Variant, float]:
    """Their p-values with all tests counted."""
    return dict(zip(strongest, holm([difference.p for difference in strongest.values()]), strict=True))


def _drawing(view: View, found: Mapping[str, Mapping[Variant, Difference]]) -> Drawing:
    """Every difference with its interval."""
    cells = {name: {v: Cell(d.value, d.low, d.high) for v, d in each.items()} for name, each in found.items()}
    alt = "Change of leakage from full precision, with intervals; the table has the numbers."
    return Drawing("changes", figures.changes(view, cells), alt)


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that even one false alarm among them is as rare as each says.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    corrected, least = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[index] * (len(p) - place)))
        corrected[index] = least
    return corrected


def phrase(difference: Difference, digits: int) -> str:
    r"""A difference in words.

    >>> phrase(Difference(-0.02, -0.03, -0.01, 0.002), 1)
    'lowers leakage by 2.0 points (1.0 to 3.0), p\xa0=\xa00.002'
    >>> phrase(Difference(0.001, -0.01, 0.01, 0.8), 1)
    'changes leakage by +0.1 points (−1.0 to +1.0), p\xa0=\xa00.8: no difference shown'
    """
    value, low, high, p = difference
    if p >= LEVEL:
        ends = f"{signed(low, digits)} to {signed(high, digits)}"
        return f"changes leakage by {signed(value, digits)} points ({ends}), {p_value(p)}: no difference shown"
    near, far = sorted((abs(low), abs(high)))
    verb = "lowers" if value < 0 else "raises"
    return (
        f"{verb} leakage by {100 * abs(value):.{digits}f} points ({100 * near:.{digits}f} to {100 * far:.{digits}f}), "
        f"{p_value(p)}"
    )


def _sentences(
    view: View, strongest: Mapping[Variant, Difference], corrected: Mapping[Variant, float]
) -> Iterator[str]:
    """Each variant's where there are few; else the headline's, how many differ, and how many still do all together."""
    if not strongest:
        yield "One target: its examples say how sure each number is, but not whether another target would agree."
        return
    if len(strongest) <= FEW:
        for variant, difference in strongest.items():
            yield f"{view.label(variant)} {phrase(difference, decimals(view.bound))}."
        return
    if (shown := least_costly(view)) and shown in strongest:
        yield f"{view.label(shown)} {phrase(strongest[shown], decimals(view.bound))}."
    lower = [variant for variant, found in strongest.items() if found.p < LEVEL and found.value < 0]
    higher = [variant for variant, found in strongest.items() if found.p < LEVEL and found.value > 0]
    certain = [variant for variant in (*lower, *higher) if corrected[variant] < LEVEL]
    total = counted(len(strongest), "variant")
    yield (
        f"Target by target, {len(lower)} of {total} lower leakage to the strongest attacker with p below 0.05"
        + (f" and {len(higher)} raise it" if higher else "")
        + (f"; {_still(view, certain, len(strongest))}." if lower or higher else ".")
    )


def _still(view: View, certain: Sequence[Variant], tests: int) -> str:
    """What is left after the correction."""
    if not certain:
        return f"none is sure when all {tests} tests are counted (Holm’s correction)"
    names = f" ({joined([view.label(variant) for variant in certain])})" if len(certain) <= FEW else ""
    return f"{len(certain)}{names} also when all {tests} tests are counted (Holm’s correction)"


def _table(
    view: View,
    measured: Measured,
    found: Mapping[str, Mapping[Variant, Difference]],
    corrected: Mapping[Variant, float],
) -> PageTable:
    """A row for each variant and attacker; strong where the correction leaves a difference."""
    area = view.bound is not None
    heads = ("Model", "Attacker", f"Change of {measure(view.bound)}", "All tests counted")
    rows = []
    for variant in view.results.variants:
        for attacker, of_attacker in found.items():
            if variant not in of_attacker:
                continue
            main = attacker == view.strongest(variant) and variant in corrected
            cells = [PageCell(attacker), change(of_attacker[variant], decimals(view.bound), main)]
            cells.append(
                PageCell(p_value(corrected[variant]), "", corrected[variant] < LEVEL) if main else PageCell("–")
            )
            if area:
                other = measured.differences.get(Key(variant, "auc", attacker, view.attack))
                cells.append(change(other, 1, False) if other else PageCell("–"))
            rows.append(PageRow(view.label(variant), variant.name, tuple(cells)))
    return PageTable(heads + (("Change of AUC",) if area else ()), tuple(rows))


def change(difference: Difference, digits: int, strong: bool) -> PageCell:
    """A change in points, with its interval and p-value below; strong where it is more than luck."""
    if not isfinite(difference.value):
        return PageCell("–")
    if not isfinite(difference.p):
        return PageCell(f"{signed(difference.value, digits)} points", "", strong)
    ends = f"{signed(difference.low, digits)} to {signed(difference.high, digits)}"
    return PageCell(f"{signed(difference.value, digits)} points", f"{ends}, {p_value(difference.p)}", strong)
