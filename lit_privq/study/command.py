"""``python -m lit_privq study``: from the study file to the report."""

from __future__ import annotations

import argparse
import functools
import glob
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_privq.artifacts.atomic import is_full_disk
from lit_privq.study import status
from lit_privq.study.choices import fleets_of, settled, without_equal_repeats
from lit_privq.study.dry_run import dry_run
from lit_privq.study.engine import Engine, StudyFailed, one_call
from lit_privq.study.engines import add_options, check_storage, opened, resources_of, slurm_options, with_resources
from lit_privq.study.ledger import CHANGED, DAMAGED, WAITING, WITH_ANOTHER, Ledger
from lit_privq.study.left_out import planned, todo_of
from lit_privq.study.lock import locked
from lit_privq.study.plan import Fleets, Job
from lit_privq.study.progress import StudyProgress, duration, finished_work
from lit_privq.study.record import read_record, stage_seconds, study_record, write_record
from lit_privq.study.running import forget_ended, read_notes
from lit_privq.study.storage import bytes_needed, check_space, n_queries, storage_line
from lit_privq.study.study_file import Study, read_study
from lit_privq.study.tasks import REAL, Hooks
from lit_privq.tracking.command import share
from lit_privq.tracking.runs import check_mode

_EXAMPLE = """example:
  python -m lit_privq study --config configs/study/digits.yaml --output runs/digits
The same command goes on where an interrupted study stopped.
  python -m lit_privq study status runs/digits
says how far it is, also while it runs."""


def main(argv: Sequence[str], hooks: Hooks = REAL) -> None:
    """Plan a study, run what is not finished, report.

    Args:
        argv: the options of ``study``.
        hooks: what the workers call.

    Raises:
        ValueError: for a study file or an option that cannot be meant, or a job that says so.
        OSError: for a path that does not exist or cannot be written to.
        SystemExit: with status 1 if a job failed twice, 130 after Ctrl-C.
    """
    if argv[:1] == ["status"]:
        return status.main(argv[1:])
    options, extras = parser().parse_known_args(argv)
    options.slurm = slurm_options(extras)
    study = with_resources(read_study(options.config), options.resources)
    _check(options)
    again = f"python -m lit_privq study {shlex.join(argv)}"
    try:
        if options.print_config:
            print(yaml.safe_dump(asdict(study), sort_keys=False), end="")
        elif options.dry_run:
            dry_run(study, options, hooks)
        else:
            with locked(options.output):
                _run(study, options, again, hooks)
        sys.stdout.flush()
    except StudyFailed as failure:
        print(f"lit_privq: error: {failure}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        n = len({maker.name for maker in Ledger(options.output).makers.values()})
        print(f"\ninterrupted; {n} finished jobs are kept, go on with\n  {again}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # as of `study --dry_run | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if is_full_disk(error):
            raise OSError(f"no space is left for {options.output}; make room, then go on with {again}") from None
        raise


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq study",
        description="Train, quantize, query, audit and report: all of a study, resumable.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", type=Path, required=True, help="the study file")
    made.add_argument("--output", type=Path, required=True, help="folder of everything the study writes")
    made.add_argument("--jobs", type=int, help="worker processes (default: one per core; one on a GPU)")
    made.add_argument(
        "--dry_run",
        action="store_true",
        help="print the state of every job, the commands of those to do and what they cost; write nothing",
    )
    made.add_argument(
        "--data_root", "--data.root", type=Path, help="where the data sets lie (default: as the data config says)"
    )
    made.add_argument("--verify", action="store_true", help="read every finished file again, to find damaged ones")
    made.add_argument("--overwrite", action="store_true", help="replace finished models of another recipe")
    made.add_argument("--ignore_space", action="store_true", help="start even if the disk seems to be too small")
    add_options(made)
    made.set_defaults(fleet=None)  # an option of `job`
    made.add_argument("--print_config", action="store_true", help="print the study file as it is understood")
    return made


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot be meant."""
    if options.data_root and not options.data_root.is_dir():
        raise FileNotFoundError(
            f"--data_root must be a folder that holds the data sets; there is no {options.data_root}"
        )
    given = {"slurm": [f"--slurm.{name}" for name in options.slurm], "ray": ["--address"] if options.address else []}
    for engine, names in given.items():
        if names and options.engine != engine:
            raise ValueError(f"{names[0]} is for --engine {engine}; got --engine {options.engine}, change one of them")
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {options.jobs}")
    check_mode()


def _run(study: Study, options: argparse.Namespace, command: str, hooks: Hooks) -> None:
    """Everything that happens under the lock."""
    start = time.monotonic()
    root: Path = options.output
    forget_ended(root)
    _remove_part_files(root)
    earlier, ledger = read_record(root), Ledger(root, options.verify)
    ledger.take_waiting()
    with opened(options) as pool:
        if options.engine != "local" and earlier.get("engine") != options.engine:
            check_storage(pool, root)
        found = settled(study, options, earlier, functools.partial(one_call, pool), hooks)
        record = study_record(study, options, command, earlier) | found
        study = without_equal_repeats(study, found["facts"])
        work = _Work(study, options, record, fleets_of(study, found), ledger, hooks.run)
        todo = work.left()
        work.check(todo)
        work.announce(todo)
        try:
            while work.execute(todo, pool):
                todo = work.left()  # without the models that diverged
        except StudyFailed:
            print(share(root), file=sys.stderr)
            raise
    if todo and (said := share(root)):
        print(said, file=sys.stderr)
    print(f"{root / 'report.html'} (after {duration(time.monotonic() - start)})")


@dataclass
class _Work:
    """The jobs of a study as things stand, and how they are run."""

    study: Study
    options: argparse.Namespace
    record: dict[str, Any]
    fleets: Fleets
    ledger: Ledger
    run: str

    def left(self) -> list[Job]:
        """Plan anew; returns the jobs that are left to do."""
        where = self.options.output, self.fleets, self.options.data_root
        self.found = planned(self.study, *where, self.ledger)
        return todo_of(self.study, *where, self.found)

    def check(self, todo: Sequence[Job]) -> None:
        """Refuse to replace what is finished, or to start what the disk cannot hold, unless that was asked for."""
        if not self.options.overwrite:
            _check_overwritten(self.found.jobs, self.found.reasons, self.options.output)
        self.needed = bytes_needed(todo, self.record["facts"], n_queries(self.study))
        if not self.options.ignore_space:
            check_space(self.needed, self.options.output)

    def announce(self, todo: Sequence[Job]) -> None:
        """Say what differs from the earlier start, and how much will be written."""
        _announce(self.found.jobs, todo, self.found.reasons, self.ledger, self.needed)

    def execute(self, todo: Sequence[Job], pool: Any) -> bool:  # noqa: ANN401  # one of three kinds
        """Run jobs; returns whether models diverged and were left out."""
        jobs, ledger = self.found.jobs, self.ledger
        _remove_damaged(self.found.reasons, ledger.root)
        saver = _Saver(ledger.root, self.record | {"left_out": self.found.left_out}, jobs, ledger)
        saver.save()
        progress = StudyProgress(todo, pool.size, sys.stderr, earlier=finished_work(jobs, self.found.reasons, ledger))
        leave_out = self.study.on_divergence == "leave_out"
        resources = resources_of(self.record["choices"], self.study.resources)
        if self.options.engine == "ray":
            pool.check_fits(resources)
        engine = Engine(ledger, pool, progress, self.run, saver.save_after, resources, leave_out)
        if self.options.engine == "slurm":
            pool.submit_ahead(engine.calls_ahead(todo))
        try:
            return engine.execute(todo)
        finally:
            saver.save()


@dataclass
class _Saver:
    """Writes study.json with the seconds of work, at most a hundredth of the time: a large study has much to sum."""

    root: Path
    record: Mapping[str, Any]
    jobs: Sequence[Job]
    ledger: Ledger
    due: float = 0.0

    def save(self) -> None:
        """Write it now."""
        start = time.monotonic()
        write_record(self.root, {**self.record, "seconds": stage_seconds(self.jobs, self.ledger)})
        now = time.monotonic()
        self.due = now + 100 * (now - start)

    def save_after(self, job: Job) -> None:
        """Write it if that is due, or the page, which shows it, is next."""
        if job.stage == "audit" or time.monotonic() >= self.due:
            self.save()


def _check_overwritten(jobs: Iterable[Job], reasons: Mapping[str, str], root: Path) -> None:
    """Refuse to train finished models anew by another recipe, unless that was asked for."""
    outputs = [path for job in jobs if job.stage == "train" for path in job.outputs]
    replaced = [path for path in outputs if reasons.get(path, "").startswith(CHANGED)]
    if replaced:
        raise ValueError(
            f"{len(replaced)} of {len(outputs)} models in {root} were trained by another recipe, code or version and "
            "would be replaced; choose another --output, or add --overwrite to train them again"
        )


def _remove_damaged(reasons: Mapping[str, str], root: Path) -> None:
    """Remove what is going to be made again: a start that does not read every file would take it for intact."""
    for reason in reasons.values():
        if reason.endswith(DAMAGED):
            (root / reason.removesuffix(DAMAGED)).unlink(missing_ok=True)


def _remove_part_files(root: Path) -> None:
    """Remove what killed workers had begun to write, and nothing of jobs that SLURM or others run meanwhile."""
    at_work = {text for note in read_notes(root) for text in (note.name, str(note.pid))}
    for pattern in (".*.part", "*/.*.part", "*/*/.*.part", "wandb/records/*/.*.part"):  # of resume checkpoints too
        for path in root.glob(pattern):
            if path.name.split(".")[-2] in at_work:
                continue
            if path.is_dir():  # of an audit
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _announce(
    jobs: Sequence[Job], todo: Sequence[Job], reasons: Mapping[str, str], ledger: Ledger, needed: int
) -> None:
    """Say what differs from the earlier start, what is in the way, and how much will be written."""
    finished = [job for job in jobs if not any(path in reasons for path in job.outputs)]
    lines = [f"{len(finished)} of {len(jobs)} jobs are finished"] if finished else []
    for job in todo:
        again = [reasons[path] for path in job.outputs if path in ledger.makers and reasons[path] != WAITING]
        lines += [f"repeating {job.name}: {min(again, key=lambda why: why == WITH_ANOTHER)}"] if again else []
    lines += [
        f"{path} is not part of this study; remove it, or the audit will meet it" for path in _strays(jobs, ledger)
    ]
    lines += [storage_line(needed, ledger.root)] if needed > 1e9 else []
    print("".join(f"{line}\n" for line in lines), end="", file=sys.stderr)


def _strays(jobs: Iterable[Job], ledger: Ledger) -> list[Path]:
    """Confidences that the study does not make: whole folders, or single files in the folders it does make."""
    expected = {path for job in jobs if job.stage == "query" for path in job.outputs}
    folders = {path.rpartition("/")[0] for path in expected}
    found = sorted(f"confidence/{path}" for path in glob.glob("*/*.npz", root_dir=ledger.root / "confidence"))  # noqa: PTH207
    strays = [(path, path.rpartition("/")[0]) for path in found if path not in expected]
    return [ledger.root / name for name in dict.fromkeys(p if folder in folders else folder for p, folder in strays)]
