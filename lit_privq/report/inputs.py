"""Everything that a page reads, read once; what a study or an audit did not leave is simply not shown."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.results import Results, read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.indicator.shadows import ShadowRuns, read_shadows
from lit_privq.report.view import View
from lit_privq.report.words import Titles


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

    def rates(self) -> NDArray[np.float64]:
        """The false-positive rate at which each example is accused, by target, (targets, examples).

        The share of the target's non-members that score as high or higher, the example itself counted once, so that
        it is never 0.
        """
        return np.stack([_rates(row, row[~inside]) for row, inside in zip(self.scores, self.members, strict=True)])


@dataclass(frozen=True)
class Inputs:
    """What the sections read, besides the results and conclusions that a view holds.

    Args:
        study: study.json; empty where there is none.
        scores: the headline attack's, of each variant under its strongest attacker, where they were kept.
        indicator: estimates of the MIS indicator for the study's models; None where there are none.
    """

    study: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[Variant, AttackScores] = field(default_factory=dict)
    indicator: ShadowRuns | None = None


def read_inputs(directory: Path) -> tuple[View, Inputs]:
    """The results of a study or an audit as the page looks at them, and everything else that it reads.

    Args:
        directory: holds results.csv and metrics.json.

    Raises:
        FileNotFoundError: if the folder, its results.csv or its metrics.json is missing.
        ValueError: if a file is damaged.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"a report needs the folder of a study or an audit; {directory} is not there")
    results, study = read_results(directory / "results.csv"), read_json(directory / "study.json")
    measures = read_measures(directory / "metrics.json", results)
    view = View(results, measures, Titles(study.get("titles", {}), measures.titles))
    scores = {
        variant: read_scores(directory, results, variant, view.strongest(variant), view.attack)
        for variant in results.variants
    }
    kept = {variant: found for variant, found in scores.items() if found is not None}
    return view, Inputs(study, kept, read_shadows(directory / "indicator"))


def read_scores(directory: Path, results: Results, variant: Variant, attacker: str, attack: str) -> AttackScores | None:
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
            scores = AttackScores(arrays["targets"], arrays["members"], arrays[attack].astype(np.float64))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must hold scores, targets and members; {error}; run `audit` again") from error
    if scores.members.shape != scores.scores.shape or scores.members.dtype != np.bool_:
        raise ValueError(
            f"{path} must hold boolean members shaped as the scores; got {scores.members.dtype} "
            f"{scores.members.shape} and {scores.scores.shape}; run `audit` again"
        )
    return scores


def _rates(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """One target's, (examples,)."""
    above = others.size - np.searchsorted(np.sort(others), scores, side="left")
    return np.asarray((1 + above) / (1 + others.size), dtype=np.float64)
