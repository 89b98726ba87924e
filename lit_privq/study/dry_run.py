"""``study --dry_run``: the state of every job, the commands of those that are left, and what they cost."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lit_privq.study import tasks
from lit_privq.study.choices import as_record, fleets_of, kept_choices, overrides, without_equal_repeats
from lit_privq.study.engines import resources_of
from lit_privq.study.ledger import WAITING, WITH_ANOTHER, Ledger
from lit_privq.study.left_out import planned, todo_of
from lit_privq.study.plan import STAGES, Job, Stage
from lit_privq.study.progress import duration
from lit_privq.study.record import read_record
from lit_privq.study.storage import bytes_needed, n_queries, storage_line
from lit_privq.study.study_file import Recipe, Study
from lit_privq.study.tasks import Hooks
from lit_privq.study.workers import WORKER, Call, Outcome, WorkerPool


def dry_run(study: Study, options: argparse.Namespace, hooks: Hooks) -> None:
    """Print what would be run, and what it costs: disk, and time by the last run's figures or by a measurement here.

    Commands go to standard output, so that they can be piped to whatever runs commands; all else to standard error.
    """
    root, earlier = options.output, read_record(options.output)
    with (
        tempfile.TemporaryDirectory() as folder,
        WorkerPool(size=1, environment=WORKER) as pool,
    ):
        log, shared = Path(folder) / "log", overrides(study, options)
        facts = pool.call(Call("facts", hooks.facts, (study, shared), log))
        measured = {
            one.name: pool.call(
                Call("choose", hooks.choose, (one.shadow, shared, study.fleet_of(one), options.jobs, True), log)
            )
            for one in study.recipes
        }
    study = without_equal_repeats(study, {} if facts.error else facts.value)
    n_jobs = options.jobs or tasks.workers()
    chosen = {
        one.name: {
            "choices": kept_choices(study, one, earlier) or measured[one.name].value or _draft(study, one, n_jobs)
        }
        for one in study.recipes
    }
    fleets = fleets_of(study, as_record(study, chosen))
    ledger = Ledger(root, options.verify)
    found = planned(study, root, fleets, options.data_root, ledger)
    jobs, reasons = found.jobs, found.reasons
    todo = todo_of(study, root, fleets, options.data_root, found)
    states = {job.name: state(job, reasons, ledger) for job in jobs}
    known = all(kept_choices(study, one, earlier) for one in study.recipes)
    sizes = [] if known else [str(chosen[one.name]["choices"]["size"]) for one in study.recipes]
    width = max(map(len, states))
    print("".join(f"{name:{width}}  {said}\n" for name, said in states.items()), end="", file=sys.stderr)
    if options.engine == "slurm":
        print("\n".join(_scripts(options, study, todo)), flush=True)
    for name, said in states.items():
        if said != "done" and options.engine != "slurm":
            print("python -m lit_privq job", name, shlex.join(_options(options, sizes)), flush=True)
    left = [job for job in jobs if states[job.name] != "done"]
    lines = [f"{len(left)} of {len(jobs)} jobs to do", *_costs(study, todo, facts, root)]
    if not facts.error:
        lines += _times(study, jobs, todo, reasons, ledger, measured, n_jobs)
    print("\n".join(lines), file=sys.stderr)


def _scripts(options: argparse.Namespace, study: Study, todo: Sequence[Job]) -> Iterator[str]:
    """Sbatch scripts of the stages to do."""
    from lit_privq.study.slurm_pool import sbatch_script  # here: an extra

    resources = resources_of({}, study.resources)
    stages = [stage for stage in STAGES if any(job.stage == stage for job in todo)]
    for number, stage in enumerate(stages):
        n, before = sum(job.stage == stage for job in todo), [f"<{name}>" for name in stages[:number]]
        yield sbatch_script(options.output, stage, resources[stage], n, options.slurm, before)


def _draft(study: Study, one: Recipe, n_jobs: int) -> dict[str, int]:
    """Fleets where nothing could be measured."""
    return {"size": study.fleet_of(one) or -(-study.n_models // n_jobs)}


def _options(options: argparse.Namespace, sizes: Sequence[str]) -> list[str]:
    """Options of ``job``, with the sizes of fleets that no start has chosen."""
    data = ["--data_root", str(options.data_root)] if options.data_root else []
    fleet = ["--fleet", *sizes] if sizes else []
    return ["--output", str(options.output), "--config", str(options.config), *fleet, *data]


def state(job: Job, reasons: Mapping[str, str], ledger: Ledger) -> str:
    """Whether a job is done, new, or stale and why.

    Args:
        job: of the whole plan.
        reasons: what `Ledger.unfinished` says of the plan.
        ledger: of the study's folder.
    """
    open_paths = [path for path in job.outputs if path in reasons]
    if not open_paths:
        return "done"
    made = [reasons[path] for path in open_paths if path in ledger.makers]
    if not made:
        left = "" if len(open_paths) == len(job.outputs) else f", {len(open_paths)} of {len(job.outputs)} files"
        return f"new{left}"
    why = min(made, key=lambda reason: (reason == WAITING, reason == WITH_ANOTHER))
    return "stale because what it is made from is" if why == WAITING else f"stale because {why}"


def _costs(study: Study, todo: Sequence[Job], facts: Outcome, root: Path) -> list[str]:
    """Lines on the disk that a study takes and the data that it needs."""
    if facts.error:
        return [f"data, network or methods: {facts.error}"]
    return [
        storage_line(bytes_needed(todo, facts.value, n_queries(study)), root),
        f"data: {facts.value['dataset']}, {facts.value['examples']} examples, are there",
    ]


def _times(
    study: Study,
    jobs: Sequence[Job],
    todo: Sequence[Job],
    reasons: Mapping[str, str],
    ledger: Ledger,
    measured: Mapping[str, Outcome],
    n_jobs: int,
) -> Iterator[str]:
    """Lines on the time: of each stage as the last run took it, of the training as it is measured here."""
    for stage in STAGES:
        each = _seconds_each(stage, jobs, reasons, ledger)
        left = sum(len(job.products) for job in todo if job.stage == stage)
        if left and each is not None:
            workers = 1 if stage in ("audit", "report") else n_jobs
            total = duration(left * each / workers)
            yield f"{stage}: {left} files at {each:.2g} s in the last run, {workers} workers: about {total}"
        elif stage == "train" and left:
            yield from (_training_cost(one, todo, measured[one.name], n_jobs, study) for one in study.recipes)


def _seconds_each(stage: Stage, jobs: Sequence[Job], reasons: Mapping[str, str], ledger: Ledger) -> float | None:
    """Seconds of work that a file of a stage took so far, None where there is none."""
    made = [product for job in jobs if job.stage == stage for product in job.products if product.path in ledger.makers]
    return ledger.seconds(made) / len(made) if made else None


def _training_cost(recipe: Recipe, todo: Sequence[Job], measured: Outcome, n_jobs: int, study: Study) -> str:
    """What it takes to train the models of a recipe; its name where there are several."""
    which = f"{recipe.name}: " if len(study.recipes) > 1 else ""
    if measured.error:
        return f"{which}a training step could not be measured: {measured.error}"
    folders = {f"checkpoints/{study.trained(name).name}" for name in recipe.names}
    trained = (job for job in todo if job.stage == "train" and str(Path(job.outputs[0]).parent) in folders)
    models = sum(len({Path(path).name for path in job.outputs}) for job in trained)
    step, steps = measured.value["step_seconds"], measured.value["steps"]
    total = duration(models * steps * step / n_jobs)
    each = f"{which}{1000 * step:.1f} ms per model and training step here"
    return f"{each}, {steps} steps, {models} models to train, {n_jobs} workers: about {total} of training"
