"""``python -m lit_privq audit``: confidences in, scores, intervals and a page out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import write_measures
from lit_privq.artifacts.results import Result, gather, write_results
from lit_privq.artifacts.scores import scores_path, write_scores
from lit_privq.artifacts.vulnerability import write_separations
from lit_privq.attacks import Attack
from lit_privq.audit.arrays import array_case, find_study, read_arrays
from lit_privq.audit.case import Case
from lit_privq.audit.folder import FULL, Folder
from lit_privq.audit.measure import Measurements, measure, rows, utility, utility_of_guessing
from lit_privq.audit.options import Audit, parse
from lit_privq.audit.output import Output, replacing
from lit_privq.audit.plausible import doubts, doubts_of_design
from lit_privq.audit.progress import AuditProgress
from lit_privq.audit.summary import ShadowScores, Summary, shadow_scores
from lit_privq.metrics import vulnerability


def main(argv: Sequence[str] | None = None) -> None:
    """Run an audit from the command line.

    Raises:
        ValueError: if an option or the input is unusable; says which and what to do.
        OSError: if a file cannot be read or written.
    """
    run(parse(sys.argv[1:] if argv is None else argv))


def run(audit: Audit) -> None:
    """Attack, write scores, results.csv and metrics.json, and draw the page unless it is not wanted.

    An audit that fails leaves the files of an earlier one as they were. A fault in drawing is only said.
    """
    progress = AuditProgress(sys.stderr)
    progress.say(f"reading {audit.input}")
    if not audit.input.exists():
        raise FileNotFoundError(
            f"there is no {audit.input}; give an .npz, a folder of .npy files or a study's confidence folder"
        )
    audit.chosen()
    summary, folder = Summary(audit.max_fpr), find_study(audit.input)
    with replacing(audit.output) as output:
        if folder:
            table = list(_study(audit, folder, summary, output, progress))
        else:
            table = list(_arrays(audit, summary, output, progress))
        write_results(output.path("results.csv"), table)
        measures = summary.measures(audit.described(), gather(table), audit.titles())
        write_measures(output.path("metrics.json"), measures)
    if audit.report:
        _draw(audit.output, progress)
    else:
        progress.say(f"done: {audit.output / 'results.csv'}")


def _draw(folder: Path, progress: AuditProgress) -> None:
    progress.say("drawing the report")
    try:
        page = importlib.import_module("lit_privq.report").build(folder)  # matplotlib, only now
    except Exception as error:
        progress.note(
            f"the page could not be drawn ({type(error).__name__}: {error}); the audit itself is complete, "
            f"`python -m lit_privq report {folder}` tries again"
        )
    else:
        progress.say(f"done: {page}")


def _say(notes: Iterator[str], summary: Summary, progress: AuditProgress) -> None:
    """What the input gives away, on stderr and on the page."""
    for note in notes:
        progress.note(note)
        summary.notes.append(note)


def _study(audit: Audit, path: Path, summary: Summary, output: Output, progress: AuditProgress) -> Iterator[Result]:
    if audit.targets:
        raise ValueError(
            f"a study knows its own targets; got targets {' '.join(audit.targets)} for {path}; leave them out"
        )
    folder = Folder(path, audit.n_targets)
    full = folder.full.observed(folder.shadows)
    attacks = audit.suited(full)
    summary.add_attacks(audit.chosen(), attacks, full)
    _say(doubts(folder.full.observed(range(folder.targets.stop))), summary, progress)
    examples = {}
    # Shadows that are the targets themselves could not fix a threshold beforehand.
    leading = _leading(attacks) if audit.design == "held_out" else {}
    thresholds = shadow_scores(leading, full)
    for done, name in enumerate(folder.variants):
        models = folder.full if name == FULL else folder.read(name)
        for target in folder.targets:
            for metric, value in models.dumps[target].utility.items():
                yield Result(models.dataset, models.net, models.variant, target, "", "", metric, value)
            for fact in ("size_bytes", "float_weights"):
                if count := models.dumps[target].meta.get(fact):
                    yield Result(models.dataset, models.net, models.variant, target, "", "", fact, count)
        dumps = [models.dumps[target] for target in folder.targets]
        useful = utility(dumps, audit.resamples, audit.seed)
        summary.add_utility(models.variant, folder.targets, useful, utility_of_guessing(dumps))
        for case in folder.cases(name, audit.design, models):
            where = f"{done + 1}/{len(folder.variants)} {name}, {case.attacker} attacker"
            progress.say(where)
            chosen = audit.chosen_paired() if case.attacker == "paired" else attacks
            if not chosen:
                continue
            path = scores_path(output.staging, name, case.attacker)
            told = progress.counted(f"{where}, intervals", len(case.index))
            scores, measured = _attack(audit, case, chosen, path, told)
            summary.add_empty(case)
            summary.add(case.variant, case.attacker, case.index.tolist(), measured)
            yield from rows(case, measured)
            if case.attacker == "adaptive":
                known = shadow_scores(leading, case.shadows)
            else:
                known = thresholds if case.attacker == "unaware" else ShadowScores()
            summary.add_scores(case, scores, case.calibrated_on, known)
        if not all(index in models.dumps for index in folder.shadows):
            summary.notes.append(f"{name}: no adaptive attacker, only the targets were quantized")
        else:
            shadows = models.observed(folder.shadows)
            examples[name] = vulnerability(shadows.confidence, shadows.members)
            summary.add_vulnerability(models.variant, examples[FULL], examples[name])
    summary.close_thresholds(leading)
    write_separations(output.staging, {name: found.separation for name, found in examples.items()})


def _arrays(audit: Audit, summary: Summary, output: Output, progress: AuditProgress) -> Iterator[Result]:
    models, forms = read_arrays(audit.input)
    _say(iter(forms), summary, progress)
    _say(doubts(models), summary, progress)
    case = array_case(audit.input, models, audit.design, audit.targets)
    if not audit.equal_groups and case.targets is not None:
        _say(doubts_of_design(case.shadows.members, case.members), summary, progress)
    progress.say(f"attacking {len(case.index)} targets")
    attacks = audit.suited(case.shadows)
    summary.add_attacks(audit.chosen(), attacks, case.shadows)
    told = progress.counted("drawing intervals", len(case.index))
    scores, measured = _attack(audit, case, attacks, scores_path(output.staging), told)
    summary.add_empty(case)
    summary.add(case.variant, case.attacker, case.index.tolist(), measured)
    progress.say("attacking shadows, for thresholds")
    leading = _leading(attacks) if case.own is None else {}
    known = shadow_scores(leading, case.shadows) if leading else ShadowScores()
    summary.add_scores(case, scores, case.calibrated_on, known)
    summary.close_thresholds(leading)
    if min(case.shadows.members.sum(0).min(), (~case.shadows.members).sum(0).min()) > 1:
        found = vulnerability(case.shadows.confidence, case.shadows.members)
        summary.add_vulnerability(case.variant, found, found)
        write_separations(output.staging, {case.variant.name: found.separation})
    yield from rows(case, measured)


def _attack(
    audit: Audit, case: Case, attacks: Mapping[str, Attack], path: Path, told: Callable[[int], None]
) -> tuple[dict[str, NDArray[np.float64]], Measurements]:
    """Scores of a case, which are written to a file, and what is measured on them."""
    scores = case.scores(attacks, equal_groups=audit.equal_groups)
    write_scores(path, case.index, case.members, scores)
    return scores, measure(case, scores, audit.max_fpr, audit.resamples, audit.seed, told)


def _leading(attacks: Mapping[str, Attack]) -> dict[str, Attack]:
    """The first two attacks, whose thresholds are also set honestly, from shadows."""
    return dict(islice(attacks.items(), 2))
