"""Scores of an audit's attacks on disk: one .npz for the targets of one variant before one attacker."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write

RESERVED = ("targets", "members", "file", "allow_pickle")
"""No names of attacks: arrays of the file, and arguments of what writes it."""


@dataclass(frozen=True)
class AttackScores:
    """One attack's scores of one variant's targets.

    Args:
        targets: (targets,) model indices.
        members: (targets, examples) bool.
        scores: (targets, examples), larger = more likely a member.
    """

    targets: NDArray[np.int64]
    members: NDArray[np.bool_]
    scores: NDArray[np.float64]


def scores_path(folder: Path, variant: str = "", attacker: str = "") -> Path:
    """Where the scores of a study's variant (its name) lie, or those of an audit of arrays.

    >>> scores_path(Path("runs"), "obc-2", "adaptive").as_posix(), scores_path(Path("runs")).as_posix()
    ('runs/audit/obc-2/adaptive.npz', 'runs/scores.npz')
    """
    return folder / "audit" / variant / f"{attacker}.npz" if variant else folder / "scores.npz"


def write_scores(
    path: Path,
    targets: NDArray[np.int64],
    members: NDArray[np.bool_],
    scores: Mapping[str, NDArray[np.float64]],
) -> None:
    """Write all attacks' scores, (targets, examples) by attack; see :class:`AttackScores` for the rest."""
    arrays: dict[str, Any] = dict(scores)
    with atomic_write(path) as file:
        np.savez(file, targets=targets, members=members, **arrays)


def read_scores(path: Path, attack: str) -> AttackScores | None:
    """One attack's scores; None where the file or the attack is not there.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if attack not in arrays:
                return None
            found = AttackScores(arrays["targets"], arrays["members"], arrays[attack].astype(np.float64))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must hold scores, targets and members; {error}; run `audit` again") from error
    if found.members.shape != found.scores.shape or found.members.dtype != np.bool_:
        raise ValueError(
            f"{path} must hold boolean members shaped as the scores; got {found.members.dtype} "
            f"{found.members.shape} and {found.scores.shape}; run `audit` again"
        )
    return found
