"""The tables of a study's run: results.csv and the audit's conclusions, as numbers."""

from __future__ import annotations

from math import isnan
from typing import Any

from lit_privq.artifacts.measures import Measures
from lit_privq.artifacts.results import Key, Results

_MEAN = ("value", "low", "high", "verdict")
_CHANGE = ("value", "low", "high", "p", "holm", "verdict")


def measured(results: Results) -> list[dict[str, Any]]:
    """results.csv as rows of numbers; None where there is none."""
    return [
        {"variant": key.variant.name, "method": key.variant.method, "bits": key.variant.bits, "target": target}
        | {"attacker": key.attacker, "attack": key.attack, "metric": key.metric}
        | _numbers("", own._asdict())
        for key, values in results.series.items()
        for target, own in values.items()
    ]


def concluded(results: Results, measures: Measures) -> list[dict[str, Any]]:
    """A row for each variant: leakage and utility and their changes, as the audit judged them."""
    focus, rows = measures.focus, []
    for variant in results.variants:
        leak, useful = focus.key(variant), Key(variant, focus.utility)
        rows.append(
            {"variant": variant.name, "metric": focus.metric, "attack": focus.attack, "attacker": leak.attacker}
            | _numbers("leakage ", _fields(measures.means.get(leak), _MEAN))
            | _numbers("leakage change ", _fields(measures.changes.get(leak), _CHANGE))
            | _numbers("utility ", _fields(measures.means.get(useful), _MEAN))
            | _numbers("utility change ", _fields(measures.changes.get(useful), _CHANGE))
        )
    return rows


def _fields(found: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a record; None where there is no record."""
    return {name: getattr(found, name, None) for name in names}


def _numbers(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields under names with a prefix; None for what could not be measured, since a table mixes badly with NaN."""
    return {
        f"{prefix}{name}": None if isinstance(value, float) and isnan(value) else value
        for name, value in fields.items()
    }
