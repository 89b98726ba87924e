"""What the benchmarks share: rows that compare two sides, shown as a table and written as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lit_privq.study.record import commit
from lit_privq.study.tasks import cores


@dataclass(frozen=True)
class Row:
    """One line of a benchmark.

    Args:
        case: what was measured, in words.
        ours: figure of lit_privq; None where it could not be measured.
        other: figure of the other side; None where there is none.
        unit: of both.
        spread: largest relative distance of a repeat from its side's median; None for a single measurement.
        more_is_better: for rates; seconds and bytes leave it out.
        note: what a reader must know, such as what was extrapolated.
    """

    case: str
    ours: float | None
    other: float | None
    unit: str
    spread: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is."""
        if not self.ours or not self.other:
            return None
        return self.ours / self.other if self.more_is_better else self.other / self.ours


def options(about: str | None) -> argparse.Namespace:
    """Command line of a benchmark: ``quick`` and ``json``."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a smaller run, less than a minute")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


def median(values: Sequence[float]) -> float:
    """What a row shows of several repeats."""
    return statistics.median(values)


def spread(*sides: Sequence[float]) -> float | None:
    """Largest relative distance of a repeat from its side's median; None where no side was repeated."""
    distances = [abs(value / median(side) - 1) for side in sides if len(side) > 1 for value in side]
    return max(distances, default=None)


def show(rows: Sequence[Row], file: Path | None) -> None:
    """Print rows as a Markdown table under the hardware and the commit; write them to ``file`` as a list."""
    print(f"{hardware()}; commit {commit() or 'unknown'}\n")
    print("| case | ours | other | unit | times better | spread | note |\n|---|--:|--:|---|--:|--:|---|")
    for row in rows:
        better = "" if row.ratio is None else f"{row.ratio:.2f}"
        apart = "" if row.spread is None else f"{row.spread:.0%}"
        cells = (row.case, _figure(row.ours), _figure(row.other), row.unit, better, apart, row.note)
        print(f"| {' | '.join(cells)} |")
    if file:
        text = json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2)
        file.write_text(f"{text}\n", encoding="utf-8")


def _figure(value: float | None) -> str:
    """Three digits; empty for what there is none of."""
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def hardware() -> str:
    """The processor and how much of it may be used."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{cores()} cores of {names[0] if names else platform.processor() or platform.machine()}"
