"""``python -m lit_privq job``: one job of a study's plan, for whatever runs commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_privq.study.choices import fleets_of, in_this_process, kept_choices, settled, without_equal_repeats
from lit_privq.study.ledger import Ledger
from lit_privq.study.left_out import planned
from lit_privq.study.plan import Job, plan
from lit_privq.study.record import read_record, study_record, write_record
from lit_privq.study.study_file import Study, read_study
from lit_privq.study.tasks import REAL, Hooks, perform

_EXAMPLE = """example:
  python -m lit_privq job train-000-009 --output runs/digits
`study --dry_run` prints such a command for every job that is left to do, in an order that respects what each needs.
Whatever runs them, `study` goes on from there."""


def main(argv: Sequence[str], hooks: Hooks = REAL) -> None:
    """Do one job of a study, unless it is finished.

    Args:
        argv: the options of ``job``.
        hooks: what does the work.

    Raises:
        ValueError: if there is no such job, or what it needs is not finished.
        OSError: for a path that does not exist or cannot be written to.
    """
    options = parser().parse_args(argv)
    root, earlier = options.output, read_record(options.output)
    options.config = options.config or _config_of(earlier, root)
    options.data_root = options.data_root or (Path(kept) if (kept := earlier.get("data_root")) else None)
    study = read_study(options.config)
    _check_chosen(study, options, earlier)
    found = settled(study, options, earlier, in_this_process, hooks)
    if not earlier:
        write_record(root, study_record(study, options, f"python -m lit_privq job {shlex.join(argv)}", {}) | found)
    study = without_equal_repeats(study, found["facts"])
    fleets = fleets_of(study, found)
    ledger = Ledger(root)
    found_jobs = planned(study, root, fleets, options.data_root, ledger)
    jobs, reasons = found_jobs.jobs, found_jobs.reasons
    job = _named(options.name, jobs, root)
    if not (left := [path for path in job.outputs if path in reasons]):
        print(f"{job.name} is finished")
        return
    _check_inputs(job, jobs, reasons)
    for part in plan(study, root, fleets, options.data_root, only=left, left_out=found_jobs.left_out):
        perform(hooks.run, part, root, ledger.hashes(part), leave_out=study.on_divergence == "leave_out")


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq job",
        description="Do one job of a study, unless it is finished.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("name", metavar="NAME", help="of the job, as study --dry_run prints it")
    made.add_argument("--output", type=Path, required=True, help="the study's folder")
    made.add_argument("--config", type=Path, help="the study file (default: that of the study's last start)")
    made.add_argument(
        "--fleet",
        type=int,
        nargs="+",
        help="models at once, a number for each recipe (default: as chosen at the study's first start)",
    )
    made.set_defaults(jobs=None, engine="local")  # options of `study`
    made.add_argument(
        "--data_root", "--data.root", type=Path, help="where the data sets lie (default: as the data config says)"
    )
    return made


def _check_chosen(study: Study, options: argparse.Namespace, earlier: Mapping[str, Any]) -> None:
    """Refuse to measure here: each job would find another size of fleets, and so other names."""
    unknown = (not study.fleet_of(one) and not kept_choices(study, one, earlier) for one in study.recipes)
    if not options.fleet and any(unknown):
        raise ValueError(
            "how many models train at once is not chosen yet for these configs; add --fleet as `study --dry_run` "
            "prints it, or start `study` once"
        )


def _config_of(earlier: dict[str, object], root: Path) -> Path:
    """The study file of the last start."""
    if not isinstance(config := earlier.get("config"), str):
        raise ValueError(f"{root} does not say which study file it belongs to; add --config")
    return Path(config)


def _named(name: str, jobs: Sequence[Job], root: Path) -> Job:
    for job in jobs:
        if job.name == name:
            return job
    raise ValueError(
        f"there is no job {name} in the study of {root}; `study --dry_run` prints the names, such as {jobs[0].name}"
    )


def _check_inputs(job: Job, jobs: Sequence[Job], reasons: Mapping[str, str]) -> None:
    """Refuse to work on what is not finished."""
    for path in job.inputs:
        if path in reasons:
            maker = next(other.name for other in jobs if path in other.outputs)
            raise ValueError(f"{job.name} needs {path}, which is not finished; run the job {maker} first")
