"""Reads a data set; a worker of a study reads it once for all of its jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lit_privq.data.archives import unpacked_inside
from lit_privq.data.pool import Pool, Source


@dataclass
class _Process:
    """What this process remembers; only a worker keeps what it read, as its jobs share their data, made anew by each.

    Elsewhere files and sources may change between one module and the next.
    """

    worker: bool = False
    last: tuple[Source, Path, Pool] | None = None


_process = _Process()


def keep_last() -> None:
    """From now on this process keeps the data set that it read last, for the next job of its study."""
    _process.worker = True


def read(source: Source, root: Path, download: bool) -> Pool:
    """The examples of a data set; in a worker those in memory if the job before had the same.

    Args:
        source: the data set; one that compares equal to the last is the same.
        root: folder of the data sets.
        download: whether a missing set may be fetched.

    Raises:
        OSError, ValueError: as the data set does.
    """
    place = root.absolute()
    if _process.last and _process.last[:2] == (source, place):
        return _process.last[2]
    _process.last = None  # before the next is read: two would not always fit
    with unpacked_inside():
        pool = source.load(root, download)
    if _process.worker:
        _process.last = source, place, pool
    return pool
