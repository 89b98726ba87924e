"""The files of an audit, which replace those of an earlier one together or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCORES = (
    *("scores.npz", "vulnerability.npz", "audit/*/unaware.npz", "audit/*/adaptive.npz", "audit/*/paired.npz"),
    "exposed.npz",  # pictures of what these scores expose; whoever has the data takes them again
)


@dataclass(frozen=True)
class Output:
    """A folder in which the files of an audit are collected until all of them are there.

    Args:
        folder: where they end up.
    """

    folder: Path

    @property
    def staging(self) -> Path:
        """Where they are collected; on the same file system, so that moving them cannot fail half way for space."""
        return self.folder / ".audit.part"

    def path(self, name: str) -> Path:
        """Where to write a file for now; its name is relative to the folder."""
        return self.staging / name


@contextmanager
def replacing(folder: Path) -> Iterator[Output]:
    """Collect files, move them into the folder when the block ends well, and remove scores that no longer belong.

    An audit that fails leaves the folder as it was. metrics.json is moved last: with it an audit is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = Output(folder)
    shutil.rmtree(output.staging, ignore_errors=True)  # of an audit that was killed
    output.staging.mkdir()
    try:
        yield output
        _move(output)
    finally:
        shutil.rmtree(output.staging, ignore_errors=True)


def _move(output: Output) -> None:
    files = [path.relative_to(output.staging) for path in output.staging.rglob("*") if path.is_file()]
    stale = {path.relative_to(output.folder) for pattern in _SCORES for path in output.folder.glob(pattern)}
    for name in sorted(files, key=lambda name: (name.name == "metrics.json", name)):
        (output.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (output.staging / name).replace(output.folder / name)
    for name in stale.difference(files):
        (output.folder / name).unlink()
