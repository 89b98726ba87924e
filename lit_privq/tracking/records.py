"""What commands leave behind for Weights & Biases: ``DIR/wandb/records``, JSON lines by model, variant and stage.

The first line holds the resolved config and what the model is; then follows a line for each epoch or unit, as it comes,
so that a process that is killed keeps the history it had; the last one holds the summary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.variant import Variant

TRAIN, QUANTIZE, QUERY = STAGES = ("train", "quantize", "query")


@dataclass(frozen=True)
class StageRecord:
    """What one stage left behind of one model.

    Args:
        about: ``dataset``, ``net``, ``n_shadows`` and ``n_targets``.
        config: the resolved configuration of the command.
        history: a row for each epoch or unit; numbers by the names they have in W&B.
        summary: numbers at the end; empty if the command did not get there.
    """

    about: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


def record_path(root: Path, variant: str, model: int, stage: str) -> Path:
    """Where a stage keeps the record of a model.

    >>> record_path(Path("runs"), "obc-2", 7, "quantize").as_posix()
    'runs/wandb/records/obc-2/007.quantize.jsonl'
    """
    return root / "wandb" / "records" / variant / f"{model:03d}.{stage}.jsonl"


def start_record(path: Path, record: StageRecord) -> None:
    """Write a new record in the place of any earlier one."""
    first = {"about": record.about, "config": record.config}
    rows = [{"history": row} for row in record.history]
    atomic_write_bytes(path, b"".join(_line(part) for part in (first, *rows)))


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add an epoch or a unit; it is with the operating system before this returns."""
    with path.open("ab") as file:
        file.write(_line({"history": row}))


def add_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Add what is known at the end."""
    with path.open("ab") as file:
        file.write(_line({"summary": summary}))


def read_stage(path: Path) -> StageRecord:
    """Read a record; a last line that was cut off is left out, and of a file that is not there everything."""
    parts = [part for line in _lines(path) if (part := _parsed(line))]
    first = parts[0] if parts else {}
    history = tuple(part["history"] for part in parts if "history" in part)
    summary = next((part["summary"] for part in reversed(parts) if "summary" in part), dict[str, Any]())
    return StageRecord(first.get("about", {}), first.get("config", {}), history, summary)


def recorded(root: Path) -> dict[tuple[Variant, int], dict[str, StageRecord]]:
    """Every record of a study, by model and variant, then by stage; files of other names are none."""
    found: dict[tuple[Variant, int], dict[str, StageRecord]] = {}
    for path in sorted((root / "wandb" / "records").glob("*/*.jsonl")):
        model, _, stage = path.stem.partition(".")
        if stage in STAGES and model.isdigit():
            found.setdefault((Variant.parse(path.parent.name), int(model)), {})[stage] = read_stage(path)
    return found


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without NaN and infinity, which JSON and W&B's tables have no number for.

    >>> finite({"loss": float("nan"), "epoch": 3})
    {'epoch': 3}
    """
    return {name: value for name, value in values.items() if not isinstance(value, float) or isfinite(value)}


def _line(part: Mapping[str, Any]) -> bytes:
    return json.dumps(part, default=str).encode() + b"\n"


def _lines(path: Path) -> Iterable[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else ()


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        part = json.loads(line)
    except ValueError:
        return {}
    return part if isinstance(part, dict) else {}
