"""Reads a data set once for all the jobs of a study that one process does."""

from __future__ import annotations

from pathlib import Path

from lit_privq.data.archives import unpacked_inside
from lit_privq.data.pool import Pool, Source

_last: list[tuple[Source, Path, Pool]] = []  # at most one: jobs of a study share their data, and data are large


def read(source: Source, root: Path, download: bool) -> Pool:
    """The examples of a data set, those in memory if it is the one that was read last.

    Args:
        source: the data set; one that compares equal to the last is the same.
        root: folder of the data sets.
        download: whether a missing set may be fetched.

    Raises:
        OSError, ValueError: as the data set does.
    """
    place = root.absolute()
    for known, where, pool in _last:
        if (known, where) == (source, place):
            return pool
    _last.clear()  # before the next is read: two would not always fit
    with unpacked_inside():
        pool = source.load(root, download)
    _last.append((source, place, pool))
    return pool
