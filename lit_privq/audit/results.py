"""results.csv: one number a row, what notebooks and other people's scripts read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lit_privq.audit.case import Variant
from lit_privq.data.whole import write_whole


class Row(NamedTuple):
    """One number of one target; attacker and attack are empty where nobody attacks."""

    variant: Variant
    target: int
    attacker: str
    attack: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan


COLUMNS = (
    "dataset",
    "net",
    "target",
    "method",
    "bits",
    "last_bits",
    "attacker",
    "attack",
    "metric",
    "value",
    "low",
    "high",
)


def write_results(path: Path, rows: Iterable[Row]) -> None:
    """Write results.csv; NaN, "not measurable", is an empty field."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        v = row.variant
        table.writerow(
            [
                v.dataset,
                v.net,
                row.target,
                v.method,
                f"{v.bits:g}",
                f"{v.last_bits:g}",
                row.attacker,
                row.attack,
                row.metric,
            ]
            + [_number(value) for value in (row.value, row.low, row.high)]
        )
    write_whole(path, text.getvalue().encode())


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
