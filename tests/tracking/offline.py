"""Reads W&B's offline files back: a log of records in LevelDB's format, each a protocol buffer."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32 * 1024, 7  # bytes


@dataclass
class OfflineRun:
    """What a run's file holds."""

    id: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name: type, metadata, files
    exit_code: int | None = None


def offline_runs(folder: Path) -> dict[str, OfflineRun]:
    """The runs below ``folder/wandb`` by id; two files of one id are an error."""
    runs = [read_run(path) for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]
    assert len({run.id for run in runs}) == len(runs), [run.id for run in runs]
    return {run.id: run for run in runs}


def read_run(path: Path) -> OfflineRun:
    """One file."""
    from wandb.proto import wandb_internal_pb2

    found = OfflineRun()
    for part in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(part)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.id, found.project, found.group, found.job_type = run.run_id, run.project, run.run_group, run.job_type
            found.name, found.tags = run.display_name, tuple(run.tags)
            found.config |= _items(run.config.update)
        elif kind == "history":
            found.history.append(_items(record.history.item))
        elif kind == "summary":
            found.summary |= _items(record.summary.update)
        elif kind == "artifact":
            files = [entry.path for entry in record.artifact.manifest.contents]
            content = {
                "type": record.artifact.type,
                "metadata": json.loads(record.artifact.metadata or "{}"),
                "files": files,
            }
            found.artifacts[record.artifact.name] = content
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _items(items: Any) -> dict[str, Any]:
    """Names and values; a name that is nested has its parts, of which dots are no separators."""
    found = {}
    for item in items:
        key = item.key or "\0".join(item.nested_key)
        found[key] = json.loads(item.value_json)
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Records of a log of 32 KiB blocks, whole or in parts; the first seven bytes are W&B's own header."""
    place, whole = _HEADER, b""
    while place + _HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _HEADER])
        whole += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # a whole record, or its last part
            yield whole
            whole = b""
