"""metrics.json: what an audit says beyond results.csv; empty where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from lit_privq.artifacts.json_file import read_json
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
    """Read metrics.json; what is about variants that results.csv does not hold is left out.

    Raises:
        ValueError: if the file is damaged.
    """
    content = read_json(path)
    try:
        return _measured(content, {variant.name: variant for variant in results.variants})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be the metrics of an audit; {type(error).__name__} at {error}; run `audit` again"
        ) from error


def _measured(content: Mapping[str, Any], variants: Mapping[str, Variant]) -> Measured:
    """The file's parts, each by what it is about."""

    def known(part: str) -> Iterable[dict[str, Any]]:
        return (record for record in content.get(part, ()) if record["variant"] in variants)

    def key(record: Mapping[str, Any], metric: str) -> Key:
        return Key(variants[record["variant"]], metric, record["attacker"], record["attack"])

    return Measured(
        {key(r, r["metric"]): Cell(*_numbers(r, "mean", "low", "high")) for r in known("means")},
        {key(r, r["metric"]): Difference(*_numbers(r, "value", "low", "high", "p")) for r in known("differences")},
        {key(r, r["metric"]): _without(r) for r in known("without_calibration") if "change" in r},
        [_point(key(r, f"tpr_at_{r['max_fpr']:g}"), r) for r in known("operating_points")],
        {key(r, "epsilon"): tuple(map(_number, r["lower_bounds"])) for r in known("epsilon")},
        {variants[r["variant"]]: _standing(r) for r in known("vulnerability")},
        tuple(content.get("notes", ())),
        content.get("titles", {}),
    )


def _point(key: Key, record: Mapping[str, Any]) -> OperatingPoint:
    """One operating point."""
    fpr, tpr = (Cell(_number(record[name]), *map(_number, record[f"{name}_interval"])) for name in ("fpr", "tpr"))
    ends = record.get("precision_interval", {})
    precision = {
        float(prior): Cell(_number(value), *map(_number, ends.get(prior, (None, None))))
        for prior, value in record["precision"].items()
    }
    return OperatingPoint(key, record["max_fpr"], fpr, tpr, precision)


def _without(record: Mapping[str, Any]) -> Without:
    """One mean without calibration examples."""
    change = Difference(*_numbers(record["change"], "value", "low", "high", "p"))
    return Without(_number(record["mean"]), change, record["members_left"])


def _standing(record: Mapping[str, Any]) -> Standing:
    """One variant's per-example view."""
    return Standing(
        record["standing_out"],
        record["standing_out_at_full_precision"],
        record["made_safe"],
        tuple(record["made_safe_first"]),
        _number(record["overlap_top_5_percent"]),
        _number(record["rank_correlation"]),
        record["degenerate"],
        record.get("examples"),
    )


def _numbers(record: Mapping[str, Any], *names: str) -> list[float]:
    """Some fields of a record."""
    return [_number(record[name]) for name in names]


def _number(value: float | None) -> float:
    """A number; null is one that could not be measured."""
    return nan if value is None else float(value)
