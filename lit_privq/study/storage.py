"""How much a study will write, and whether there is room for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.variant import Variant
from lit_privq.study.plan import Job
from lit_privq.study.recipe import find
from lit_privq.study.study_file import Study

_BESIDE = 9  # bytes of an example beside its confidences: a label and whether it is a member


def bytes_needed(jobs: Iterable[Job], facts: Mapping[str, Any], n_queries: int) -> int:
    """Bytes of all checkpoints and confidences that jobs will write, about.

    Args:
        jobs: those that will run.
        facts: sizes of the study's data and network, see `lit_privq.study.facts`.
        n_queries: queries of each example.
    """
    dump = facts["examples"] * (4 * n_queries + _BESIDE)
    return sum(_size(path, facts, dump) for job in jobs for path in job.outputs)


def n_queries(study: Study) -> int:
    """Queries of each example, as the study's query config says."""
    return int(find(config_tree(Path(study.query)), "n_queries") or 1)


def _size(path: str, facts: Mapping[str, Any], dump: int) -> int:
    """Bytes of one file: a checkpoint's by its recipe and whether it is quantized; nothing of other stages' files."""
    folder, *rest = path.split("/")
    if folder != "checkpoints":
        return dump if folder == "confidence" else 0
    variant = Variant.parse(rest[0])
    size: int = facts["code_bytes" if variant.quantized else "float_bytes"][variant.recipe]
    return size


def free_bytes(root: Path) -> tuple[int, Path]:
    """Bytes that are free where a folder is or will be, and the existing folder that was looked at."""
    folder = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    return shutil.disk_usage(folder).free, folder


def storage_line(needed: int, root: Path) -> str:
    """What will be written and what is free.

    >>> storage_line(0, Path("/"))[:27]
    'about 0 MB will be written;'
    """
    return f"about {size(needed)} will be written; {size(free_bytes(root)[0])} are free"


def check_space(needed: int, root: Path) -> None:
    """Refuse to start what cannot be finished.

    Raises:
        ValueError: if more will be written than is free.
    """
    free, folder = free_bytes(root)
    if needed > free:
        raise ValueError(
            f"about {size(needed)} will be written, but only {size(free)} are free at {folder}; make room, choose "
            "another --output, or add --ignore_space to start all the same"
        )


def size(n: int) -> str:
    """Bytes for people.

    >>> size(3_600_000_000), size(12_345_678), size(12_345)
    ('3.6 GB', '12 MB', '12 kB')
    """
    if 0 < n < 1e6:
        return f"{n / 1e3:.0f} kB"
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
