"""What diverged: an error of its own, and files kept under a name that nothing reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class Diverged(ValueError):
    """Models hold or answer NaN or infinity; the files of the others were written.

    Args:
        message: which, and what to do.
        models: their indices.
    """

    def __init__(self, message: str, models: Sequence[int]) -> None:
        super().__init__(message, models)
        self.models = models

    def __str__(self) -> str:
        return str(self.args[0])


def kept_path(path: Path) -> Path:
    """Where a file is kept that holds NaN or infinity, in the place of the path of a sound one.

    >>> kept_path(Path("003.ckpt")).name
    '003.ckpt.diverged'
    """
    return path.with_name(f"{path.name}.diverged")


def place(path: Path, sound: bool) -> Path:
    """Where a file goes; one of the other kind, which an earlier run left there, is removed.

    Args:
        path: of a sound file.
        sound: whether it holds neither NaN nor infinity.
    """
    chosen, other = (path, kept_path(path)) if sound else (kept_path(path), path)
    other.unlink(missing_ok=True)
    return chosen
