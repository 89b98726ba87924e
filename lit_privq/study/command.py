"""``python -m lit_privq study``: from the study file to the report."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_privq.study import tasks
from lit_privq.study.engine import Engine, StudyFailed, log_of
from lit_privq.study.ledger import Ledger, locked
from lit_privq.study.plan import Fleets, Job, config_tree, plan, shared_options
from lit_privq.study.progress import Progress, duration
from lit_privq.study.record import read_record, stage_seconds, study_record, write_record
from lit_privq.study.storage import bytes_needed, storage_line
from lit_privq.study.study_file import Study, read_study
from lit_privq.study.workers import WORKER, Pool, Task

_EXAMPLE = """example:
  python -m lit_privq study --config configs/study/digits.yaml --output runs/digits
The same command goes on where an interrupted study stopped."""


@dataclass(frozen=True)
class Hooks:
    """What the workers call, as ``module:function``; tests put their own in the place of training.

    Args:
        run: runs a command line.
        choose: picks the fleets.
    """

    run: str = "lit_privq.study.tasks:run_command"
    choose: str = "lit_privq.study.tasks:choose"


def main(argv: Sequence[str], hooks: Hooks = Hooks()) -> None:
    """Plan a study, run what is not finished, report.

    Args:
        argv: the options of ``study``.
        hooks: what the workers call.

    Raises:
        ValueError: for a study file or an option that cannot be meant, or a job that says so.
        OSError: for a path that does not exist or cannot be written to.
        SystemExit: with status 1 if a job failed twice, 130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    study = read_study(options.config)
    if options.data_root and not options.data_root.is_dir():
        raise FileNotFoundError(
            f"--data_root must be a folder that holds the data sets; there is no {options.data_root}"
        )
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {options.jobs}")
    draft = plan(study, options.output, _draft_of_fleets(study, options), options.data_root)
    if options.dry_run:
        print("\n".join(f"python -m lit_privq {shlex.join(job.argv)}" for job in draft))
        return
    again = f"python -m lit_privq study {shlex.join(argv)}"
    try:
        with locked(options.output):
            _run(study, options, again, hooks)
    except StudyFailed as failure:
        print(f"lit_privq: error: {failure}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        n = len(Ledger(options.output).records)
        print(f"\ninterrupted; {n} finished jobs are kept, go on with\n  {again}", file=sys.stderr)
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lit_privq study",
        description="Train, quantize, query, audit and report: all of a study, resumable.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="the study file")
    parser.add_argument("--output", type=Path, required=True, help="folder of everything the study writes")
    parser.add_argument("--jobs", type=int, help="worker processes (default: one per core; one on a GPU)")
    parser.add_argument("--dry_run", action="store_true", help="print the commands of all jobs, write nothing")
    parser.add_argument("--data_root", type=Path, help="where the data sets lie (default: as the data config says)")
    parser.add_argument("--verify", action="store_true", help="read every finished file again, to find damaged ones")
    return parser


def _run(study: Study, options: argparse.Namespace, command: str, hooks: Hooks) -> None:
    """Everything that happens under the lock."""
    start = time.monotonic()
    root: Path = options.output
    earlier, ledger = read_record(root), Ledger(root, options.verify)
    record = study_record(study, command, earlier)
    with Pool(size=options.jobs or 1, environment=WORKER) as pool:
        record |= _chosen(study, options, earlier, pool, hooks.choose)
        choices = record["choices"]
        pool.size = options.jobs or choices["jobs"]
        jobs = plan(study, root, _fleets(choices), options.data_root)
        _announce(study, jobs, ledger)

        def save() -> None:
            write_record(root, {**record, "seconds": stage_seconds(jobs, ledger)})

        save()
        Engine(ledger, pool, Progress(jobs, pool.size, sys.stderr), hooks.run, save).execute(jobs)
    print(f"{root / 'report.html'} (after {duration(time.monotonic() - start)})")


def _draft_of_fleets(study: Study, options: argparse.Namespace) -> Fleets:
    """The fleets of an earlier start, or what can be said without measuring."""
    earlier = read_record(options.output)
    if earlier.get("chosen_for") == _question(study):
        return _fleets(earlier["choices"])
    jobs = options.jobs or tasks.cores()
    return Fleets(-(-study.n_models // jobs) if study.fleet == "auto" else study.fleet, jobs)


def _fleets(choices: Mapping[str, Any]) -> Fleets:
    return Fleets(choices["size"], choices["jobs"])


def _question(study: Study) -> str:
    """Digest of what a choice of fleets depends on; another question needs another answer."""
    question = [study.fleet, config_tree(Path(study.shadow)), shared_options(study)]
    return hashlib.blake2b(json.dumps(question, default=str).encode(), digest_size=8).hexdigest()


def _chosen(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], pool: Pool, choose: str
) -> dict[str, Any]:
    """The choices of the first start, kept for ever: another choice could change the last digits of the results."""
    question = _question(study)
    if earlier.get("chosen_for") == question:
        return {"choices": earlier["choices"], "chosen_for": question}
    data = ["--data.root", str(options.data_root)] if options.data_root else []
    fleet = None if study.fleet == "auto" else study.fleet
    arguments = (study.shadow, [*shared_options(study), *data], fleet, options.jobs)
    if fleet and options.jobs:  # nothing to measure, nothing to import
        choices = tasks.choose(*arguments)
    else:
        log = log_of("choose", options.output)
        outcome = pool.call(Task("choose", choose, arguments, log))
        if outcome.error:
            raise ValueError(
                f"the fleets could not be chosen: {outcome.error}; see {log}, or set fleet: in the study file"
            )
        choices = outcome.value
    how = f", {choices['how']}" if choices.get("how", "alone") != "alone" else ""
    print(f"{choices['size']} models at once{how}, {choices['jobs']} workers: {choices['why']}", file=sys.stderr)
    return {"choices": choices, "chosen_for": question}


def _announce(study: Study, jobs: Sequence[Job], ledger: Ledger) -> None:
    """Say what differs from the earlier start, what is in the way, and how much will be written."""
    reasons = ledger.unfinished(jobs)
    todo = [job for job in jobs if job.name in reasons]
    again = {name: why for name, why in reasons.items() if name in ledger.records and why != "waiting"}
    lines = [f"{len(jobs) - len(todo)} of {len(jobs)} jobs are finished"] if len(todo) < len(jobs) else []
    lines += [f"repeating {name}: {why}" for name, why in again.items()]
    lines += [
        f"{path} is not part of this study; remove it, or the audit will meet it" for path in _strays(jobs, ledger)
    ]
    lines += [storage_line(bytes_needed(study, todo), ledger.root)]
    print("".join(f"{line}\n" for line in lines if line), end="", file=sys.stderr)


def _strays(jobs: Iterable[Job], ledger: Ledger) -> list[Path]:
    """Confidences that the study does not make: whole folders, or single files in the folders it does make."""
    expected = {ledger.root / path for job in jobs for path in job.outputs}
    folders = {path.parent for path in expected}
    found = [path for path in sorted((ledger.root / "confidence").glob("*/*.npz")) if path not in expected]
    return list(dict.fromkeys(path if path.parent in folders else path.parent for path in found))
