"""``study.json``: what was asked for, by which command and versions, and what was chosen by measurement."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lit_privq
from lit_privq.commit import commit
from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import STAGES, Job, config_tree
from lit_privq.study.study_file import Study, read_tree

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
    unfinished = root / ".study.json"
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(root / "study.json")


def study_record(study: Study, command: str, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Record of a study that starts, or goes on: when it started first is kept.

    Args:
        study: resolved.
        command: as it was typed.
        earlier: record of the first start, empty if this is it.
    """
    return {
        "name": study.name,
        "command": command,
        "started": earlier.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
        "versions": versions(),
        "commit": commit(),
        "dataset": _dataset(Path(study.shadow)),
        "net": _last_word(find(config_tree(Path(study.shadow)), "net")),
        "n_shadows": study.n_shadows,
        "n_targets": study.n_targets,
        "titles": _titles(study),
        "study": asdict(study),
    }


def stage_seconds(jobs: Sequence[Job], ledger: Ledger) -> dict[str, float]:
    """Seconds of work per stage, over all workers and all starts of the study."""
    done = [(job.stage, ledger.records[job.name].seconds) for job in jobs if job.name in ledger.records]
    return {
        stage: round(sum(seconds for other, seconds in done if other == stage), 3)
        for stage in STAGES
        if any(other == stage for other, _ in done)
    }


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, found without importing it."""
    found = {"lit_privq": lit_privq.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def find(tree: Any, key: str) -> Any:  # noqa: ANN401 - a YAML tree
    """First value of a key anywhere in a config, None if it is nowhere."""
    if isinstance(tree, dict) and key in tree:
        return tree[key]
    nodes = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return next((found for node in nodes if (found := find(node, key)) is not None), None)


def _titles(study: Study) -> dict[str, str]:
    """How the methods are written, by name: as their classes, where these have the same name (``obc``: ``OBC``)."""
    classes = {row.name: _last_word(find(config_tree(Path(row.method)), "method")) for row in study.quantize}
    return {name: title for name, title in classes.items() if title.lower() == name}


def _dataset(shadow: Path) -> str:
    """What the data's config is called, or the data set's class where it has no config of its own."""
    data = read_tree(shadow).get("data")
    return Path(data).stem if isinstance(data, str) else _last_word(find(data, "dataset")).lower()


def _last_word(part: Any) -> str:  # noqa: ANN401 - a YAML tree
    """Last word of a class path: ``Digits``, ``resnet18``."""
    path = part.get("class_path", "") if isinstance(part, dict) else part or ""
    return str(path).rpartition(".")[2]
