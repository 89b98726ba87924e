"""metrics.json: what an audit says beyond results.csv; empty where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lit_privq.artifacts.measures import Change, Rate, read_measures
from lit_privq.artifacts.results import Cell, Key, Results
from lit_privq.artifacts.variant import Variant


class Difference(NamedTuple):
    """A paired difference from full precision, its 95 % interval and its p-value; NaN where there is none."""

    value: float
    low: float
    high: float
    p: float


class Without(NamedTuple):
    """A mean that leaves calibration examples out, its change, and how many members of a target are left at least."""

    mean: float
    change: Difference
    members: int


@dataclass(frozen=True)
class OperatingPoint:
    """What an attack does to targets at a threshold that shadow models fixed.

    Args:
        key: whose models, by whom and how.
        max_fpr: the false-positive rate aimed at.
        fpr: the one reached.
        tpr: true-positive rate.
        precision: share of the accused that are members, by the share of members among all.
    """

    key: Key
    max_fpr: float
    fpr: Cell
    tpr: Cell
    precision: Mapping[float, Cell]


@dataclass(frozen=True)
class Standing:
    """Which examples a variant's shadow models give away.

    Args:
        standing_out: how many.
        before: how many at full precision.
        made_safe: how many of those no longer.
        safe_first: the examples made safe that fell furthest.
        overlap: share of the most exposed twentieth that is the same as at full precision.
        rank_correlation: of all examples' exposure with that at full precision.
        degenerate: examples whose confidence does not vary in a group of shadows.
        examples: of the pool; None where the file is of an older version.
    """

    standing_out: int
    before: int
    made_safe: int
    safe_first: tuple[int, ...]
    overlap: float
    rank_correlation: float
    degenerate: int
    examples: int | None


@dataclass(frozen=True)
class Measured:
    """All of metrics.json.

    Args:
        means: mean over targets and its interval.
        differences: from full precision, paired over targets.
        without_calibration: mean over targets that leaves each one's calibration examples out.
        operating_points: thresholds fixed on shadow models.
        epsilon: each target's lower bound; the metric of the key is ``epsilon``.
        standing: the per-example view of each variant whose shadows were quantized too.
        notes: what a reader would stumble over.
        titles: of attacks, by name.
    """

    means: Mapping[Key, Cell] = field(default_factory=dict)
    differences: Mapping[Key, Difference] = field(default_factory=dict)
    without_calibration: Mapping[Key, Without] = field(default_factory=dict)
    operating_points: Sequence[OperatingPoint] = ()
    epsilon: Mapping[Key, tuple[float, ...]] = field(default_factory=dict)
    standing: Mapping[Variant, Standing] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)


def read_measured(path: Path, results: Results) -> Measured:
    """Read metrics.json; empty where it is not there.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return Measured()
    found = read_measures(path, results)
    return Measured(
        {key: Cell(mean.value, mean.low, mean.high) for key, mean in found.means.items() if key.attack},
        {key: _difference(change) for key, change in found.changes.items() if key.attack},
        {
            key: Without(one.mean, _difference(one.change), one.members_left)
            for key, one in found.without_calibration.items()
        },
        [
            OperatingPoint(
                Key(one.variant, f"tpr_at_{one.max_fpr:g}", one.attacker, one.attack),
                one.max_fpr,
                _cell(one.fpr),
                _cell(one.tpr),
                {float(prior): _cell(rate) for prior, rate in one.precision.items()},
            )
            for one in found.thresholds
        ],
        {key: bounds.lower_bounds for key, bounds in found.epsilon.items()},
        {
            variant: Standing(**vars(found.standing[variant.name]))
            for variant in results.variants
            if variant.name in found.standing
        },
        found.notes,
        found.titles,
    )


def _difference(change: Change) -> Difference:
    return Difference(change.value, change.low, change.high, change.p)


def _cell(rate: Rate) -> Cell:
    return Cell(rate.value, rate.low, rate.high)
