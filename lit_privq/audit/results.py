"""results.csv: one number a row, what notebooks and other people's scripts read."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lit_privq.audit.case import Variant


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


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file, then rename: a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
