"""``python -m lit_privq audit``: confidences in, scores, intervals and a page out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.measures import write_measures
from lit_privq.artifacts.results import (
    ALL,
    CALIBRATION,
    DEFAULT_RECIPE,
    MOST_VULNERABLE,
    NOT_CALIBRATION,
    Result,
    gather,
    write_results,
)
from lit_privq.artifacts.scores import read_scores, scores_path, write_scores
from lit_privq.artifacts.variant import Variant
from lit_privq.artifacts.vulnerability import write_separations
from lit_privq.attacks import Attack, Observed
from lit_privq.audit.arrays import array_case, find_study, read_arrays
from lit_privq.audit.case import Case
from lit_privq.audit.draws import with_draws
from lit_privq.audit.focus import worst_of
from lit_privq.audit.folder import Folder, Models
from lit_privq.audit.fronts import at_equal_accuracy
from lit_privq.audit.gate import broken, check
from lit_privq.audit.measure import (
    Masks,
    Measure,
    Measurements,
    PerTarget,
    measure,
    measure_slices,
    per_example_measures,
    per_example_name,
    rate_name,
    rows,
    statistics,
    utility,
    utility_by_class,
    utility_of_guessing,
)
from lit_privq.audit.options import Audit, parse
from lit_privq.audit.options import parser as parser
from lit_privq.audit.output import Output, replacing
from lit_privq.audit.plausible import doubts, finite_population
from lit_privq.audit.progress import AuditProgress
from lit_privq.audit.records import Records, identified_at, write_records
from lit_privq.audit.slices import most_vulnerable, of_case
from lit_privq.audit.summary import FamilyRates, ShadowScores, Summary, shadow_scores
from lit_privq.metrics import Vulnerability, vulnerability
from lit_privq.metrics.roc import allowed_false_positives


def main(argv: Sequence[str] | None = None) -> None:
    """Run an audit from the command line.

    Raises:
        ValueError: if an option or the input is unusable; says which and what to do.
        OSError: if a file cannot be read or written.
    """
    run(parse(sys.argv[1:] if argv is None else argv))


def run(audit: Audit) -> None:
    """Attack, write scores, results.csv, metrics.json and vulnerability.csv, and draw the page unless it is not wanted.

    An audit that fails leaves the files of an earlier one as they were. A fault in drawing is only said.
    """
    progress = AuditProgress(sys.stderr)
    progress.say(f"reading {audit.input}")
    if not audit.input.exists():
        raise FileNotFoundError(
            f"there is no {audit.input}; give an .npz, a folder of .npy files or a study's confidence folder"
        )
    audit.chosen()
    folder = find_study(audit.input)
    audit = _as_recorded(audit, folder) if folder else audit
    summary = Summary(audit.max_fpr, audit.delta)
    with replacing(audit.output) as output:
        started = _Run(audit, summary, output, progress, audit.equal_groups)
        table = list(_study(audit, folder, started) if folder else _arrays(audit, started))
        results = gather(table, audit.first_recipe)
        write_results(output.path("results.csv"), table, audit.first_recipe)
        measures = summary.measures(audit.described(), results, audit.titles())
        measures = with_draws(at_equal_accuracy(measures, results, audit.families), results)
        write_measures(output.path("metrics.json"), measures)
    if audit.report:
        _draw(audit.output, progress)
    else:
        progress.say(f"done: {audit.output / 'results.csv'}")
    if failed := list(broken(measures, audit.fail_if or (), audit.slice)):
        print("\n".join(failed))
        raise SystemExit(1)


def _as_recorded(audit: Audit, folder: Path) -> Audit:
    """Recipes and their families as the study itself named them, where the audit was not told."""
    families = read_json(folder.parent / "study.json").get("families", {})
    if list(families) in ([], [DEFAULT_RECIPE]):
        return audit
    recipes = audit.recipes or list(families)
    several = {name: family for name, family in families.items() if len(families) > 1 and name in recipes}
    return replace(audit, recipes=recipes, families=audit.families or several)


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


def _study(audit: Audit, path: Path, run: _Run) -> Iterator[Result]:
    if audit.targets:
        raise ValueError(
            f"a study knows its own targets; got targets {' '.join(audit.targets)} for {path}; leave them out"
        )
    folder = Folder(path, audit.n_targets, audit.recipes or (), audit.leave_out or ())
    summary, progress = run.summary, run.progress
    run.say(_missing(audit.leave_out or ()))
    run.begin(folder.full.observed(folder.shadows), folder.slices)
    _check_gate(folder, run)
    attacks, separations, unaware_only = run.attacks, {}, list[str]()
    for done, name in enumerate(folder.variants):
        variant = Variant.parse(name)
        models = folder.read(name) if variant.quantized else folder.parent(variant)
        if not variant.quantized:
            run.say(doubts(models.observed([*folder.shadows, *folder.targets])))
            thresholds = run.shadow_scores(models.observed(folder.shadows))
        yield from _utility(folder, models, run)
        for case in folder.cases(name, audit.design, models):
            where = f"{done + 1}/{len(folder.variants)} {name}, {case.attacker} attacker"
            progress.say(where)
            chosen = audit.chosen_paired() if case.attacker == "paired" else attacks
            if not chosen:
                continue
            if case.attacker == "adaptive":
                known = run.shadow_scores(case.shadows)
            else:
                known = thresholds if case.attacker == "unaware" else ShadowScores()
            file = scores_path(run.output.staging, name, case.attacker)
            if variant.repeat:
                yield from run.attack_again(case, chosen, file, where)
                continue
            yield from run.attack(case, chosen, file, known, where, thresholds)
        if variant.repeat:
            continue
        if not all(index in models.dumps for index in folder.shadows):
            unaware_only.append(name)
        else:
            shadows = models.observed(folder.shadows)
            separations[name] = vulnerability(shadows.confidence, shadows.members)
            summary.add_vulnerability(variant, separations[variant.baseline.name], separations[name])
    if unaware_only:
        summary.notes.append(f"no adaptive attacker, only the targets were quantized: {', '.join(unaware_only)}")
    if audit.chosen_family():
        for case in folder.families(audit.design):
            progress.say(f"{' + '.join(case.versions)} together")
            run.attack_family(case, audit.chosen_family(), folder.parents(case.variant, audit.design))
    run.end(separations)


def _missing(diverged: Sequence[int]) -> Iterator[str]:
    """What a reader must know of models that were left out."""
    if diverged:
        are, they = ("s are", "they") if len(diverged) > 1 else (" is", "it")
        yield f"{len(diverged)} model{are} missing, as {they} diverged: {', '.join(map(str, diverged))}"


def _check_gate(folder: Folder, run: _Run) -> None:
    models = folder.targets if run.audit.design == "held_out" else folder.shadows
    dumps = [folder.full.dumps[index] for index in models]
    calibrated = (CALIBRATION, NOT_CALIBRATION) if len(folder.variants) > 1 else ()
    by_class = {key.slice: [key.metric] for key in utility_by_class(dumps)} if run.audit.slices.classes else {}
    utilities = {ALL: list(dumps[0].utility), **by_class}
    run.check_gate(np.stack([dump.members for dump in dumps]), calibrated, utilities)


def _utility(folder: Folder, models: Models, run: _Run) -> Iterator[Result]:
    """Rows of what the targets of one variant are good for, of all examples and class by class."""
    attacked = folder.shadows if run.audit.design == "leave_one_out" else folder.targets
    index = attacked if all(target in models.dumps for target in attacked) else folder.targets
    dumps = [models.dumps[target] for target in index]
    if not models.variant.repeat:
        run.summary.add_utility(models.variant, index, utility(dumps), utility_of_guessing(dumps))
    what = models.dataset, models.net, models.variant
    for target, dump in zip(index, dumps, strict=True):
        for metric, value in dump.utility.items():
            yield Result(*what, target, "", "", metric, value)
        if (size := dump.meta["size_bytes"]) is not None:
            yield Result(*what, target, "", "", "size_bytes", size)
        if left := dump.meta.get("float_weights"):
            yield Result(*what, target, "", "", "float_weights", left)
        if (epsilon := dump.meta.get("accountant_epsilon")) is not None:
            yield Result(*what, target, "", "", "accountant_epsilon", epsilon)
    if run.audit.slices.classes and not models.variant.repeat:
        found = utility_by_class(dumps)
        run.summary.add_utility(models.variant, index, found, {})
        for key, values in found.items():
            for target, value in zip(index, values.estimates.tolist(), strict=True):
                yield Result(*what, target, "", "", key.metric, value, slice=key.slice)


def _arrays(audit: Audit, run: _Run) -> Iterator[Result]:
    models, forms = read_arrays(audit.input)
    run.say(iter(forms))
    run.say(doubts(models))
    case = array_case(audit.input, models, audit.design, audit.targets)
    if case.targets is not None and not audit.equal_groups and finite_population(case.shadows.members, case.members):
        run.equal_groups = True
        run.say(iter([_FINITE]))
    run.begin(case.shadows, {})
    run.check_gate(case.members, (), {})
    run.progress.say(f"attacking {len(case.index)} targets")
    yield from run.attack(
        case, run.attacks, scores_path(run.output.staging), run.shadow_scores(case.shadows), "drawing intervals"
    )
    separations = {}
    if min(case.shadows.members.sum(0).min(), (~case.shadows.members).sum(0).min()) > 1:
        found = vulnerability(case.shadows.confidence, case.shadows.members)
        run.summary.add_vulnerability(case.variant, found, found)
        separations[case.variant.name] = found
    run.end(separations)


@dataclass
class _Run:
    """One audit while it runs: what was asked for, where it goes, and what was found so far."""

    audit: Audit
    summary: Summary
    output: Output
    progress: AuditProgress
    equal_groups: bool
    attacks: dict[str, Attack] = field(default_factory=dict)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    parents: dict[tuple[Variant, str, bytes], dict[Measure, PerTarget]] = field(default_factory=dict)
    records: dict[str, Records] = field(default_factory=dict)

    def say(self, notes: Iterator[str]) -> None:
        """What the input gives away, on stderr and on the page."""
        for note in notes:
            self.progress.note(note)
            self.summary.notes.append(note)

    def begin(self, full: Observed, stored: Masks) -> None:
        """Choose attacks and slices by the full-precision shadows."""
        self.attacks = self.audit.suited(full)
        self.summary.add_attacks(self.audit.chosen(), self.attacks, full)
        self.masks = self.audit.slices.masks(full, stored)
        if share := self.audit.slices.most_vulnerable:
            chosen = most_vulnerable(full, share, judged=self.audit.design == "leave_one_out")
            if chosen is None:
                self.say(iter(["too few shadows to choose the most vulnerable examples by; that slice is left out"]))
            else:
                self.masks[MOST_VULNERABLE] = chosen

    def check_gate(
        self, members: NDArray[np.bool_], further: Sequence[str], utilities: Mapping[str, Sequence[str]]
    ) -> None:
        """Refuse rules that this audit cannot check.

        Args:
            members: of the targets, (targets, examples).
            further: slices that only quantized variants have.
            utilities: by slice, metrics of utility.
        """
        audit = self.audit
        names = [*statistics(audit.max_fpr), *map(per_example_name, audit.max_fpr), "epsilon"]
        known = {part: [*names, *utilities.get(part, ())] for part in (ALL, *self.masks, *further)}
        others = int((~members).sum(axis=1).min())
        empty = {rate_name(bound) for bound in audit.max_fpr if allowed_false_positives(others, bound) < 1}
        mask = self.masks.get(audit.slice, np.ones(1, bool))
        if not (members & (mask if mask.ndim == 1 else mask[: len(members)])).any(axis=1).all():
            empty |= set(statistics(audit.max_fpr))
        check(audit.fail_if or (), audit.slice, known, empty)

    @property
    def leading(self) -> dict[str, Attack]:
        """The attacks that are also measured on slices, and whose thresholds are also set on shadows."""
        return _leading(self.attacks)

    def shadow_scores(self, shadows: Observed) -> ShadowScores:
        """Scores of shadows that are not themselves the targets; those could not fix a threshold beforehand."""
        return shadow_scores(self.leading, shadows) if self.audit.design == "held_out" else ShadowScores()

    def attack_again(self, case: Case, attacks: Mapping[str, Attack], file: Path, where: str) -> Iterator[Result]:
        """Attack a repeat, of which only the numbers are kept; what is concluded is said of the first draw."""
        scores, _ = case.scores(attacks, equal_groups=self.equal_groups)
        write_scores(file, case.index, case.members, scores)
        told = self.progress.counted(where, len(case.index))
        yield from rows(
            case, measure(case, scores, self.audit.max_fpr, self.audit.resamples, self.audit.seed, before=told)
        )

    def attack(
        self,
        case: Case,
        attacks: Mapping[str, Attack],
        file: Path,
        known: ShadowScores,
        where: str,
        thresholds: ShadowScores | None = None,
    ) -> Iterator[Result]:
        """Attack one case, write its scores, and add what is measured on them to the summary.

        ``known`` are this attacker's shadows, ``thresholds`` those of the unaware one where it is another.
        """
        audit, summary = self.audit, self.summary
        scores, used = case.scores(attacks, equal_groups=self.equal_groups)
        write_scores(file, case.index, case.members, scores)
        slices, leading = of_case(case, self.masks), _leading(attacks)
        summary.add_slices(case, slices)

        def sliced(attack: str, name: str) -> bool:
            return attack in leading or name == worst_of(slices)

        told = self.progress.counted(where, len(case.index))
        measured = measure(case, scores, audit.max_fpr, audit.resamples, audit.seed, slices, sliced, told)
        setting = self._known(case, {name: scores[name] for name in leading}, known)
        rates, reachable = per_example_measures(case, scores, *setting, audit.max_fpr, slices)
        together = {attack: {**found, **rates.get(attack, {})} for attack, found in measured.items()}
        summary.add_empty(case)
        parents = self._parents(case, attacks, slices, thresholds or known)
        summary.add(case.variant, case.attacker, case.index.tolist(), together, parents)
        summary.add_used(case, used)
        summary.add_reachable(case, reachable)
        summary.add_scores(case, scores, known, slices, sliced)
        self._record(case, next(iter(scores.values())))
        yield from rows(case, together)

    def _parents(
        self, case: Case, attacks: Mapping[str, Attack], slices: Masks, thresholds: ShadowScores
    ) -> Measurements:
        """Full precision of the same targets on the examples that calibrated this variant and on the others.

        These slices are each variant's own, so that nothing else of full precision can be compared with them.
        """
        own = {name: slices[name] for name in (CALIBRATION, NOT_CALIBRATION) if name in slices}
        found: dict[str, dict[Measure, PerTarget]] = {}
        for attack in attacks if own else ():
            key = case.variant.parent, attack, own[CALIBRATION].tobytes()
            if key not in self.parents:
                file = scores_path(self.output.staging, case.variant.parent.name, "unaware")
                parent = read_scores(file, attack)
                self.parents[key] = {} if parent is None else self._parent(case, attack, parent.scores, own, thresholds)
            found[attack] = self.parents[key]
        return found

    def _parent(
        self, case: Case, attack: str, scores: NDArray[np.float64], own: Masks, thresholds: ShadowScores
    ) -> dict[Measure, PerTarget]:
        audit = self.audit
        known = self._known(case, {attack: scores} if attack in self.leading else {}, thresholds)
        rates, _ = per_example_measures(case, {attack: scores}, *known, audit.max_fpr, own)
        found = measure_slices(case, scores, audit.max_fpr, audit.resamples, audit.seed, own)
        return {**found, **{key: one for key, one in rates.get(attack, {}).items() if key.slice != ALL}}

    def _known(
        self, case: Case, scores: Mapping[str, NDArray[np.float64]], known: ShadowScores
    ) -> tuple[Mapping[str, NDArray[np.float64]], NDArray[np.bool_]]:
        """Scores and members of the models that set thresholds for each example: the targets, if these are shadows."""
        return (scores, case.members) if case.own is not None else (known.scores, known.members)

    def attack_family(self, case: Case, attacks: Mapping[str, Attack], parents: tuple[Observed, Observed]) -> None:
        """What an attacker finds who holds several precisions, beside each of them alone and the parent."""
        audit = self.audit
        scores, used = case.scores(attacks)
        singles = {name: replace(case, versions={name: held}) for name, held in case.versions.items()}
        alone = {name: single.scores(attacks)[0] for name, single in singles.items()}
        parent = replace(case, versions={"parent": parents}).scores(attacks)[0]
        outside = {name: mask for name, mask in of_case(case, {}).items() if name == NOT_CALIBRATION}
        for attack in attacks:
            found = {name: {attack: each[attack]} for name, each in {**alone, "": scores, "parent": parent}.items()}
            measured = {
                name: measure(case, each, audit.max_fpr, 0, audit.seed, outside)[attack] for name, each in found.items()
            }
            for bound in audit.max_fpr:
                whole = Measure(rate_name(bound))
                if np.isnan(measured[""][whole].estimates).any():
                    continue
                part = whole._replace(slice=NOT_CALIBRATION) if outside else whole
                rates = FamilyRates(
                    whole.metric,
                    measured[""][whole],
                    {name: measured[name][whole] for name in alone},
                    measured["parent"][whole],
                    measured[""][part] - measured["parent"][part],
                )
                self.summary.add_family(case, attack, used[attack], rates)

    def end(self, separations: Mapping[str, Vulnerability]) -> None:
        """Write what is known of single examples."""
        if len(self.attacks) > len(self.leading):
            self.summary.close_slices(self.leading)
        self.summary.close_thresholds(self.leading if self.audit.design == "held_out" else {})
        write_separations(self.output.staging, {name: found.separation for name, found in separations.items()})
        known = [
            replace(one, separation=separations[name].separation) if name in separations else one
            for name, one in self.records.items()
        ]
        shared = {name: mask for name, mask in self.masks.items() if mask.ndim == 1}
        write_records(self.output.path("vulnerability.csv"), known, shared, self.audit.first_recipe)

    def _record(self, case: Case, scores: NDArray[np.float64]) -> None:
        """The single examples of a variant, by the last attacker who learns from models of the targets' kind."""
        if case.attacker != "paired":
            self.records[case.variant.name] = Records(
                case.variant,
                case.attacker,
                np.full(case.members.shape[1], np.nan),
                identified_at(scores, case.members),
                case.members.sum(axis=0),
            )


def _leading(attacks: Mapping[str, Attack]) -> dict[str, Attack]:
    """The first two attacks, whose thresholds are also set honestly, from shadows."""
    return dict(islice(attacks.items(), 2))


_FINITE = (
    "the number of shadows that trained on an example tells whether a target did, as where every example trains "
    "equally many of all models, targets included; groups are cut to equal sizes"
)
