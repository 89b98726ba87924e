"""``python -m lit_privq audit``: confidences in, scores, intervals and a page out."""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import jsonargparse
import numpy as np
from numpy.typing import NDArray

from lit_privq import __version__
from lit_privq.artifacts.atomic import atomic_write
from lit_privq.artifacts.measures import write_measures
from lit_privq.artifacts.results import Row, gather, write_results
from lit_privq.attacks import Attack, Observed, paired, standard
from lit_privq.audit.arrays import array_case, read_arrays
from lit_privq.audit.case import Case
from lit_privq.audit.folder import FULL, Design, Folder
from lit_privq.audit.measure import Measurements, measure, rows, utility, utility_of_guessing
from lit_privq.audit.summary import ShadowScores, Summary, shadow_scores
from lit_privq.metrics import Vulnerability, vulnerability

_RESERVED = ("targets", "members", "file", "allow_pickle")  # names in scores.npz, and arguments of what writes it
_QUOTED = 'attacks and targets in a YAML file are lists of words in quotes, such as ["64:74", "80"]'
_EXAMPLE = """examples:
  python -m lit_privq audit --config configs/audit/digits.yaml --input runs/digits/confidence --output runs/digits
  python -m lit_privq audit --input mine.npz --targets 64:74 --output runs/mine
"""


@dataclass(frozen=True)
class Audit:
    """What is audited, and how.

    Args:
        input: a study's ``confidence`` folder; or an .npz or a folder of .npy with ``members`` (models, examples) and
            ``confidence`` (models, examples, queries), or ``logits`` (..., classes) and ``labels``.
        output: folder for scores, results.csv, metrics.json and the report.
        define: attacks by name.
        attacks: which of them to run; all by default.
        design: whether targets are held out from the shadows, or every shadow is a target in turn.
        targets: rows or ranges of rows of an .npz that are targets, such as 64:74, in quotes where YAML is read; a
            study knows its own.
        equal_groups: cut every held-out example's groups to the poorest example's, as the public reference does.
        max_fpr: bounds on the false-positive rate at which the true-positive rate is reported.
        paired: attacks of the attacker who holds the full-precision parent of a quantized target, by name; of these
            too only those that ``attacks`` names.
        resamples: of the examples, for the intervals, whose ends hardly move with more; 0 draws none.
        seed: of the resampling.

    Raises:
        ValueError: if there is no attack or one's name cannot be written, or if max_fpr or resamples make no sense.
    """

    input: Path
    output: Path
    define: dict[str, Attack] = field(default_factory=standard)
    attacks: list[str] | None = None
    design: Design = "held_out"
    targets: list[str] | None = None
    equal_groups: bool = False
    max_fpr: list[float] = field(default_factory=lambda: [0.00001, 0.0001, 0.001, 0.01])
    paired: dict[str, Attack] = field(default_factory=paired)
    resamples: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.define:
            raise ValueError("define must hold at least one attack; got none; leave it out for the standard ones")
        if self.paired is None:
            raise ValueError("paired must be a map of attacks; got null; write {} for none")
        for name in (*self.define, *self.paired):
            if not isinstance(name, str) or name in _RESERVED:
                raise ValueError(
                    f"an attack's name must be text other than {', '.join(_RESERVED)}, which scores.npz and its "
                    f"writer need; got {name!r}; rename it"
                )
        if bad := [bound for bound in self.max_fpr if not 0 < bound <= 1]:
            raise ValueError(f"max_fpr holds fractions in (0, 1], 0.001 for 0.1 %; got {', '.join(map(str, bad))}")
        if self.resamples < 0 or self.resamples == 1:
            raise ValueError(f"resamples must be 0 (no intervals) or at least 2; got {self.resamples}; 400 are usual")

    def described(self) -> dict[str, Any]:
        """What was done, for the record."""
        attacks, paired = (
            {name: repr(attack) for name, attack in each.items()} for each in (self.chosen(), self.chosen_paired())
        )
        names = ("design", "targets", "equal_groups", "max_fpr", "resamples", "seed")
        options = {name: getattr(self, name) for name in names}
        versions = {"lit_privq": __version__, "numpy": np.__version__}
        return {"input": str(self.input), "attacks": attacks, "paired": paired, **options, "versions": versions}

    def chosen(self) -> dict[str, Attack]:
        """The attacks to run.

        Raises:
            ValueError: if one is not defined.
        """
        unknown = [name for name in self.attacks or () if name not in self.define]
        if unknown:
            raise ValueError(f"no attack is named {', '.join(unknown)}; there are {', '.join(self.define)}")
        return {name: self.define[name] for name in self.attacks or self.define}

    def chosen_paired(self) -> dict[str, Attack]:
        """The attacks of the paired attacker to run, perhaps none."""
        return {name: attack for name, attack in self.paired.items() if name in (self.attacks or self.paired)}

    def suited(self, models: Observed) -> dict[str, Attack]:
        """The attacks to run on these models; those that need classes are left out of values, unless asked for."""
        chosen = self.chosen()
        if self.attacks or not models.values:
            return chosen
        return {name: attack for name, attack in chosen.items() if not attack.needs_classes} or chosen


def main(argv: Sequence[str] | None = None) -> None:
    """Run an audit from the command line.

    Raises:
        ValueError: if an option or the input is unusable; says which and what to do.
        OSError: if a file cannot be read or written.
    """
    run(_parse(sys.argv[1:] if argv is None else argv))


def run(audit: Audit) -> Path:
    """Attack, write scores, results.csv and metrics.json, draw the report; returns the page."""
    progress = Progress(sys.stderr)
    progress.say(f"reading {audit.input}")
    if not audit.input.exists():
        raise FileNotFoundError(
            f"there is no {audit.input}; give an .npz, a folder of .npy files or a study's confidence folder"
        )
    audit.output.mkdir(parents=True, exist_ok=True)
    folder = _study_folder(audit.input)
    audit.chosen()
    summary = Summary(audit.max_fpr)
    table = list(_study(audit, folder, summary, progress) if folder else _arrays(audit, summary, progress))
    write_results(audit.output / "results.csv", table)
    write_measures(audit.output / "metrics.json", summary.measures(audit.described(), gather(table)))
    progress.say("drawing the report")
    build = importlib.import_module("lit_privq.report").build  # matplotlib, only now
    page = Path(build(audit.output))
    progress.say(f"done: {page}")
    return page


def _parse(argv: Sequence[str]) -> Audit:
    parser = jsonargparse.ArgumentParser(
        prog="python -m lit_privq audit",
        description="Attack confidences and report what leaks.",
        epilog=_EXAMPLE,
        formatter_class=_Help,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_class_arguments(Audit, skip={"attacks", "targets"})
    # Words, not YAML: there 8:10 is a number of base 60.
    parser.add_argument("--attacks", nargs="+", type=_word, help="names of the attacks to run; all by default")
    parser.add_argument("--targets", nargs="+", type=_word, help="target rows or ranges of an .npz, such as 64:74 80")
    try:
        config = parser.instantiate(parser.parse_args(list(argv)))
    except (jsonargparse.ArgumentError, TypeError) as error:
        quoted = f"; {_QUOTED}" if re.search('key "(attacks|targets)"', str(error)) else ""
        raise ValueError(f"{' '.join(str(error).split())}{quoted}; see python -m lit_privq audit --help") from None
    return Audit(**{key: value for key, value in config.as_dict().items() if key != "config"})


def _word(value: object) -> str:
    """A name or a range, as it was typed: of 8:10 without quotes a YAML file makes the number 490."""
    if not isinstance(value, str):
        raise ValueError(f"got {value!r}")
    return value


def _study_folder(path: Path) -> Path | None:
    """The folder of dumps, if this is a study's."""
    for candidate in (path, path / "confidence"):
        if candidate.is_dir() and any(candidate.glob("*/*.npz")):
            return candidate
    return None


def _study(audit: Audit, path: Path, summary: Summary, progress: Progress) -> Iterator[Row]:
    if audit.targets:
        raise ValueError(
            f"a study knows its own targets; got targets {' '.join(audit.targets)} for {path}; leave them out"
        )
    folder = Folder(path)
    full = folder.full.observed(folder.shadows)
    attacks = audit.suited(full)
    summary.add_attacks(audit.chosen(), attacks, full)
    examples = {}
    # Shadows that are the targets themselves could not fix a threshold beforehand.
    leading = _leading(attacks) if audit.design == "held_out" else {}
    summary.add_thresholds(list(leading))
    thresholds = shadow_scores(leading, full)
    for done, name in enumerate(folder.variants):
        models = folder.full if name == FULL else folder.read(name)
        for target in folder.targets:
            for metric, value in models.dumps[target].utility.items():
                yield Row(models.dataset, models.net, models.variant, target, "", "", metric, value)
            for fact in ("size_bytes", "float_weights"):
                if count := models.dumps[target].meta.get(fact):
                    yield Row(models.dataset, models.net, models.variant, target, "", "", fact, count)
        dumps = [models.dumps[target] for target in folder.targets]
        useful = utility(dumps, audit.resamples, audit.seed)
        summary.add_utility(models.variant, folder.targets, useful, utility_of_guessing(dumps))
        for case in folder.cases(name, audit.design, models):
            where = f"{done + 1}/{len(folder.variants)} {name}, {case.attacker} attacker"
            progress.say(where)
            chosen = audit.chosen_paired() if case.attacker == "paired" else attacks
            if not chosen:
                continue
            path = audit.output / "audit" / name / f"{case.attacker}.npz"
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
    _write_examples(audit.output / "vulnerability.npz", examples)


def _arrays(audit: Audit, summary: Summary, progress: Progress) -> Iterator[Row]:
    case = array_case(audit.input, read_arrays(audit.input), audit.design, audit.targets)
    progress.say(f"attacking {len(case.index)} targets")
    attacks = audit.suited(case.shadows)
    summary.add_attacks(audit.chosen(), attacks, case.shadows)
    told = progress.counted("drawing intervals", len(case.index))
    scores, measured = _attack(audit, case, attacks, audit.output / "scores.npz", told)
    summary.add_empty(case)
    summary.add(case.variant, case.attacker, case.index.tolist(), measured)
    progress.say("attacking shadows, for thresholds")
    leading = _leading(attacks) if case.own is None else {}
    summary.add_thresholds(list(leading))
    known = shadow_scores(leading, case.shadows) if leading else ShadowScores()
    summary.add_scores(case, scores, case.calibrated_on, known)
    if min(case.shadows.members.sum(0).min(), (~case.shadows.members).sum(0).min()) > 1:
        found = vulnerability(case.shadows.confidence, case.shadows.members)
        summary.add_vulnerability(case.variant, found, found)
        _write_examples(audit.output / "vulnerability.npz", {case.variant.name: found})
    yield from rows(case, measured)


def _attack(
    audit: Audit, case: Case, attacks: Mapping[str, Attack], path: Path, told: Callable[[int], None]
) -> tuple[dict[str, NDArray[np.float64]], Measurements]:
    """Scores of a case, which are written to a file, and what is measured on them."""
    scores = case.scores(attacks, equal_groups=audit.equal_groups)
    _write_scores(path, case, scores)
    return scores, measure(case, scores, audit.max_fpr, audit.resamples, audit.seed, told)


def _leading(attacks: Mapping[str, Attack]) -> dict[str, Attack]:
    """The first two attacks, whose thresholds are also set honestly, from shadows."""
    return dict(islice(attacks.items(), 2))


def _write_examples(path: Path, examples: Mapping[str, Vulnerability]) -> None:
    separation: dict[str, Any] = {name: one.separation for name, one in examples.items()}
    with atomic_write(path) as file:
        np.savez(file, **separation)


def _write_scores(path: Path, case: Case, scores: Mapping[str, NDArray[np.float64]]) -> None:
    arrays: dict[str, Any] = dict(scores)
    with atomic_write(path) as file:
        np.savez(file, targets=case.index, members=case.members, **arrays)


class Progress:
    """What is going on, with the seconds since the start: one line that is overwritten on a terminal, else many."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start = time.monotonic()

    def say(self, what: str) -> None:
        """Show a line."""
        line = f"audit {time.monotonic() - self._start:6.1f} s  {what}"
        self._stream.write(f"\r\x1b[K{line}" if self._stream.isatty() else f"{line}\n")
        self._stream.flush()

    def counted(self, what: str, total: int) -> Callable[[int], None]:
        """Says what is going on, with how many of so many are done."""
        return lambda done: self.say(f"{what}, target {done + 1}/{total}")


class _Help(jsonargparse.DefaultHelpFormatter):
    """Keeps the line breaks of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))
