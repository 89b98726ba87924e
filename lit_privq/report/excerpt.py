"""What a page is drawn from, without the scores of single examples: small enough for a repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.measures import write_measures
from lit_privq.artifacts.results import ALL, POOL, SLICE, Key, Result, write_results
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View

Found = TypeVar("Found")
_RATE = "tpr_at_0.01"  # kept beside the page's measure, which often is at a bound of too few false positives
_AREAS = ("auc", "log_auroc")  # what the page says of its first attack beside rates, of all members


def keep(directory: Path, output: Path) -> Path:
    """Copy of a study or an audit what its page is drawn from.

    Kept are study.json, and of metrics.json utility and sizes, the page's first attack in every slice, and all other
    attacks among all members; of results.csv the same of each target, slices other than the worst case only where there
    is one target, as the page reads the means of several. The page that ``report`` draws from the
    copy has everything but what needs the scores of single examples (ROC curves, pictures) or the indicator's
    estimates.

    Args:
        directory: of the study or the audit.
        output: folder of the copy, which is replaced where it is there; never that of a study or an audit.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: if the folder, its results.csv or its metrics.json is missing.
        ValueError: if a file is damaged, or the folder is that of a study or an audit.
    """
    _check(output)
    view, _ = read_inputs(directory)
    output.mkdir(parents=True, exist_ok=True)
    measures = view.measures
    cut = replace(
        measures,
        means={key: mean for key, mean in measures.means.items() if _read(view, key)},
        changes=_first_attack(view, measures.changes),
        gaps=_first_attack(view, measures.gaps),
        bounds=_first_attack(view, measures.bounds),
        reachable={},
    )
    write_results(output / "results.csv", _rows(view), view.results.first_recipe)
    write_measures(output / "metrics.json", cut)
    (output / "study.json").unlink(missing_ok=True)
    if (study := directory / "study.json").is_file():
        atomic_write_bytes(output / study.name, study.read_bytes())
    return output


def _check(output: Path) -> None:
    """Refuse the folder of a study or an audit: numbers of one beside scores of another would lie."""
    held = [name for name in ("audit", "confidence", "checkpoints", "vulnerability.csv") if (output / name).exists()]
    if held:
        raise ValueError(f"an excerpt needs a folder of its own; {output} holds {held[0]} of a study, name another")


def _read(view: View, key: Key) -> bool:
    """Whether the page reads a number; of repeats only the page's first attack among all members."""
    rate, everybody = key.metric in (view.metric, _RATE), (key.slice, key.against) == (ALL, POOL)
    own = key.metric == "epsilon" or (key.metric == "auc" and key.against == SLICE)
    if key.attack == view.attack:
        return (rate or own or (everybody and key.metric in _AREAS)) and (everybody or not key.variant.repeat)
    return not key.attack or (rate and everybody and not key.variant.repeat)


def _first_attack(view: View, found: Mapping[Key, Found]) -> dict[Key, Found]:
    """Of these what the page reads about its first attack, and about utility."""
    return {key: one for key, one in found.items() if _read(view, key) and key.attack in ("", view.attack)}


def _rows(view: View) -> Iterator[Result]:
    """The rows of results.csv that are kept, in its order."""
    results = view.results
    slices = {ALL, view.focus.worst}
    for key, cells in results.series.items():
        if _read(view, key) and (key.slice in slices or len(results.targets) == 1):
            named = key.attacker, key.attack, key.metric
            for target, cell in cells.items():
                yield Result(
                    results.dataset,
                    results.nets[key.variant.recipe],
                    key.variant,
                    target,
                    *named,
                    *cell,
                    key.slice,
                    key.against,
                )
