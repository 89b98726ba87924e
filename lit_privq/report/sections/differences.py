"""What each precision changes, tested on the same targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.headline import least_costly
from lit_privq.report.measured import Difference, Measured
from lit_privq.report.table import Cell, Row, Table
from lit_privq.report.words import counted, decimals, joined, label, measure, p_value, signed

LEVEL = 0.05
FEW = 3  # as many variants get a sentence each


@dataclass(frozen=True)
class Differences:
    """The section: what it says first, and the table."""

    sentences: tuple[str, ...]
    table: Table


def differences(focus: Focus, measured: Measured) -> dict[str, dict[Variant, Difference]]:
    """Those of the page's measure and attack, by attacker and variant."""
    found: dict[str, dict[Variant, Difference]] = {}
    for key, difference in measured.differences.items():
        if (key.metric, key.attack) == (focus.metric, focus.attack) and isfinite(difference.value):
            found.setdefault(key.attacker, {})[key.variant] = difference
    return found


def compared(focus: Focus, measured: Measured) -> Differences | None:
    """None where nothing was compared."""
    found = differences(focus, measured)
    strongest = {
        variant: difference
        for variant in focus.results.variants
        if (difference := found.get(focus.strongest(variant), {}).get(variant)) and isfinite(difference.p)
    }
    if not found:
        return None
    corrected = dict(zip(strongest, holm([difference.p for difference in strongest.values()]), strict=True))
    return Differences(tuple(_sentences(focus, strongest, corrected)), _table(focus, measured, found, corrected))


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
    focus: Focus, strongest: Mapping[Variant, Difference], corrected: Mapping[Variant, float]
) -> Iterator[str]:
    """Each variant's where there are few; else the headline's, how many differ, and how many still do all together."""
    if not strongest:
        yield "One target: its examples say how sure each number is, but not whether another target would agree."
        return
    if len(strongest) <= FEW:
        for variant, difference in strongest.items():
            yield f"{label(variant)} {phrase(difference, decimals(focus.bound))}."
        return
    if (shown := least_costly(focus)) and shown in strongest:
        yield f"{label(shown)} {phrase(strongest[shown], decimals(focus.bound))}."
    lower = [variant for variant, found in strongest.items() if found.p < LEVEL and found.value < 0]
    higher = [variant for variant, found in strongest.items() if found.p < LEVEL and found.value > 0]
    certain = [variant for variant in (*lower, *higher) if corrected[variant] < LEVEL]
    total = counted(len(strongest), "variant")
    yield (
        f"Target by target, {len(lower)} of {total} lower leakage to the strongest attacker with p below 0.05"
        + (f" and {len(higher)} raise it" if higher else "")
        + (f"; {_still(certain, len(strongest))}." if lower or higher else ".")
    )


def _still(certain: Sequence[Variant], tests: int) -> str:
    """What is left after the correction."""
    if not certain:
        return f"none is sure when all {tests} tests are counted (Holm’s correction)"
    names = f" ({joined([label(variant) for variant in certain])})" if len(certain) <= FEW else ""
    return f"{len(certain)}{names} also when all {tests} tests are counted (Holm’s correction)"


def _table(
    focus: Focus,
    measured: Measured,
    found: Mapping[str, Mapping[Variant, Difference]],
    corrected: Mapping[Variant, float],
) -> Table:
    """A row for each variant and attacker; strong where the correction leaves a difference."""
    area = focus.bound is not None
    heads = ("Model", "Attacker", f"Change of {measure(focus.bound)}", "All tests counted")
    rows = []
    for variant in focus.results.variants:
        for attacker, of_attacker in found.items():
            if variant not in of_attacker:
                continue
            main = attacker == focus.strongest(variant) and variant in corrected
            cells = [Cell(attacker), change(of_attacker[variant], decimals(focus.bound), main)]
            cells.append(Cell(p_value(corrected[variant]), "", corrected[variant] < LEVEL) if main else Cell("–"))
            if area:
                other = measured.differences.get(Key(variant, "auc", attacker, focus.attack))
                cells.append(change(other, 1, False) if other else Cell("–"))
            rows.append(Row(label(variant), variant.name, tuple(cells)))
    return Table(heads + (("Change of AUC",) if area else ()), tuple(rows))


def change(difference: Difference, digits: int, strong: bool) -> Cell:
    """A change in points, with its interval and p-value below; strong where it is more than luck."""
    if not isfinite(difference.value):
        return Cell("–")
    if not isfinite(difference.p):
        return Cell(f"{signed(difference.value, digits)} points", "", strong)
    ends = f"{signed(difference.low, digits)} to {signed(difference.high, digits)}"
    return Cell(f"{signed(difference.value, digits)} points", f"{ends}, {p_value(difference.p)}", strong)
