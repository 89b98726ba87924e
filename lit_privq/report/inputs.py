"""Everything that a page reads, read once; what a study or an audit did not leave is simply not shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.pictures import Pictures, read_pictures
from lit_privq.artifacts.results import read_results
from lit_privq.artifacts.scores import AttackScores, read_scores, scores_path
from lit_privq.artifacts.variant import Variant
from lit_privq.indicator.shadows import ShadowRuns, read_shadows
from lit_privq.report.view import View
from lit_privq.report.words import Titles


@dataclass(frozen=True)
class Inputs:
    """What the sections read, besides the results and conclusions that a view holds.

    Args:
        study: study.json; empty where there is none.
        scores: the headline attack's, of each variant under its strongest attacker, where they were kept.
        indicator: estimates of the MIS indicator for the study's models; None where there are none.
        pictures: of the most exposed examples; None where none were kept.
    """

    study: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[Variant, AttackScores] = field(default_factory=dict)
    indicator: ShadowRuns | None = None
    pictures: Pictures | None = None


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
    view = View(results, measures, Titles(study.get("titles", {}), measures.titles, study.get("recipes", {})))
    scores = {variant: _scores(directory, view, variant) for variant in results.variants}
    kept = {variant: found for variant, found in scores.items() if found is not None}
    return view, Inputs(study, kept, read_shadows(directory / "indicator"), read_pictures(directory))


def _scores(directory: Path, view: View, variant: Variant) -> AttackScores | None:
    """The headline attack's scores of a variant; an audit of arrays keeps its only ones elsewhere."""
    path = scores_path(directory, variant.name, view.strongest(variant))
    if not path.is_file() and len(view.results.variants) == 1:
        path = scores_path(directory)
    return read_scores(path, view.attack)
