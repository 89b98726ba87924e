"""``study.json``: what was asked for, by which command and versions, and what was chosen by measurement."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lit_privq
from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.commit import commit
from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import STAGES, Job
from lit_privq.study.study_file import Study

_PACKAGES = ("torch", "lightning", "numpy")


def read_record(root: Path) -> dict[str, Any]:
    """The record of a study's earlier start; empty if there is none that can be read."""
    try:
        record = json.loads((root / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(root: Path, record: Mapping[str, Any]) -> None:
    """Put a record in the place of the old one, whole or not at all."""
    atomic_write_bytes(root / "study.json", (json.dumps(record, indent=2) + "\n").encode())


def study_record(study: Study, options: argparse.Namespace, command: str, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Record of a study that starts, or goes on: when it started first is kept.

    Args:
        study: resolved.
        options: of the command line, with ``config`` and ``data_root``.
        command: as it was typed.
        earlier: record of the first start, empty if this is it.
    """
    return {
        "name": study.name,
        "command": command,
        "config": str(options.config),
        "folder": str(Path.cwd()),  # to which the paths are relative
        "engine": options.engine,
        "data_root": str(options.data_root) if options.data_root else None,
        "started": earlier.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
        "versions": versions(),
        "commit": commit(),
        "recipes": {study.trained(name).recipe: title for name, title in study.titles.items()},
        "families": study.families,
        "n_shadows": study.n_shadows,
        "n_targets": study.n_targets,
        "study": asdict(study),
    }


def stage_seconds(jobs: Sequence[Job], ledger: Ledger) -> dict[str, float]:
    """Seconds of work per stage, over all workers and all starts of the study.

    Args:
        jobs: all of the study, finished or not.
        ledger: of its finished files.
    """
    seconds = {stage: ledger.seconds(p for job in jobs if job.stage == stage for p in job.products) for stage in STAGES}
    return {stage: round(value, 3) for stage, value in seconds.items() if value}


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, found without importing it."""
    found = {"lit_privq": lit_privq.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
