"""vulnerability.csv: how exposed each example is, for whoever must answer for single records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.results import DEFAULT_RECIPE
from lit_privq.artifacts.variant import Variant
from lit_privq.metrics import ranked

COLUMNS = ("example", "slices", "variant", "attacker", "separation", "identified_at_fpr", "targets", "recipe")


@dataclass(frozen=True, eq=False)
class Records:
    """What is known of each example under one variant.

    Args:
        variant: of the targets.
        attacker: whose scores these are.
        separation: (examples,) how far training moves the confidence, in deviations; NaN where unknown.
        identified_at: (examples,) false-positive rate at which the example is found, the median over the targets that
            trained on it; NaN where none did.
        targets: (examples,) how many did.
    """

    variant: Variant
    attacker: str
    separation: NDArray[np.float64]
    identified_at: NDArray[np.float64]
    targets: NDArray[np.intp]


def identified_at(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The least false-positive rate at which an attack finds each example, the median over targets that trained on it.

    Args:
        scores: (targets, examples), larger means more likely a member.
        members: (targets, examples) bool.

    Returns:
        (examples,) fractions: the share of non-members who score as high or higher; NaN where no target trained on it.

    >>> identified_at(np.array([[3.0, 2.0, 1.0]]), np.array([[True, False, True]]))
    array([ 0., nan,  1.])
    """
    rates = np.full(members.shape, np.nan)
    for row, inside, found in zip(scores, members, rates, strict=True):
        seen = ranked(row, inside)
        found[inside] = seen.curve.fpr[seen.step[inside]]
    known = members.any(axis=0)
    result = np.full(members.shape[1], np.nan)
    result[known] = np.nanmedian(rates[:, known], axis=0)
    return result


def write_records(
    path: Path, records: list[Records], slices: Mapping[str, NDArray[np.bool_]], first_recipe: str = DEFAULT_RECIPE
) -> None:
    """Write vulnerability.csv, example by example, the variants in the audit's order.

    Columns: ``example``, number in the pool; ``slices``, the names of those that hold it, separated by spaces;
    ``variant``; ``attacker``, whose scores give the rate; ``separation``, difference of the mean confidence of shadows
    that trained on it and of those that did not, in deviations; ``identified_at_fpr``, see :func:`identified_at`;
    ``targets``, how many targets trained on it; ``recipe``, by its name. Empty fields are unknown.
    """
    lines = [",".join(COLUMNS)]
    names = [" ".join(name for name, mask in slices.items() if mask[example]) for example in range(_examples(records))]
    for example, inside in enumerate(names):
        for one in records:
            numbers = (_field(one.separation[example]), _field(one.identified_at[example]), str(one.targets[example]))
            named = (one.variant.name, one.attacker, *numbers, one.variant.recipe or first_recipe)
            lines.append(",".join((str(example), inside, *named)))
    atomic_write_bytes(path, ("\n".join(lines) + "\n").encode())


def _examples(records: list[Records]) -> int:
    return records[0].separation.size if records else 0


def _field(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
