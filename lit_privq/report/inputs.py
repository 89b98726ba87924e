"""What a study or an audit left in its folder besides results.csv; whatever is missing is simply not shown."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.results import Results
from lit_privq.artifacts.variant import Variant


@dataclass(frozen=True)
class Scores:
    """One attack's scores of one variant's targets.

    Args:
        targets: (targets,) model indices.
        members: (targets, examples) bool.
        scores: (targets, examples), larger = more likely a member.
    """

    targets: NDArray[np.int64]
    members: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def rates(self) -> NDArray[np.float64]:
        """At which false-positive rate each example is accused, by target, (targets, examples).

        The share of the target's non-members that score as high or higher, the example itself counted once, so that
        it is never 0.
        """
        return np.stack([_rates(row, row[~inside]) for row, inside in zip(self.scores, self.members, strict=True)])


def _rates(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """One target's, (examples,)."""
    above = others.size - np.searchsorted(np.sort(others), scores, side="left")
    return np.asarray((1 + above) / (1 + others.size), dtype=np.float64)


def read_scores(directory: Path, results: Results, variant: Variant, attacker: str, attack: str) -> Scores | None:
    """The scores behind a row of results.csv, or None where they were not kept.

    Raises:
        ValueError: if the file is damaged.
    """
    path = directory / "audit" / variant.name / f"{attacker}.npz"
    if not path.is_file() and len(results.variants) == 1:
        path = directory / "scores.npz"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if attack not in arrays:
                return None
            scores = Scores(arrays["targets"], arrays["members"], arrays[attack].astype(np.float64))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must hold scores, targets and members; {error}; run `audit` again") from error
    if scores.members.shape != scores.scores.shape or scores.members.dtype != np.bool_:
        raise ValueError(
            f"{path} must hold boolean members shaped as the scores; got {scores.members.dtype} "
            f"{scores.members.shape} and {scores.scores.shape}; run `audit` again"
        )
    return scores


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing.

    Raises:
        ValueError: if it is there and is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON; {error}; run the command that wrote it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a JSON object; got {type(content).__name__}; write it again")
    return content
