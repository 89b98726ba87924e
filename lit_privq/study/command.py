"""``python -m lit_privq study``: from the study file to the report."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_privq.artifacts.atomic import is_full_disk
from lit_privq.artifacts.config import config_tree
from lit_privq.study import tasks
from lit_privq.study.engine import Engine, StudyFailed, log_of
from lit_privq.study.ledger import CHANGED, WITH_ANOTHER, Ledger, locked
from lit_privq.study.plan import STAGES, Fleets, Job, Stage, plan, shared_options, training_recipe
from lit_privq.study.progress import StudyProgress, duration
from lit_privq.study.recipe import find, recipe
from lit_privq.study.record import read_record, stage_seconds, study_record, write_record
from lit_privq.study.storage import bytes_needed, check_space, storage_line
from lit_privq.study.study_file import Recipe, Study, read_study
from lit_privq.study.workers import WORKER, Call, Outcome, WorkerPool
from lit_privq.tracking.command import share
from lit_privq.tracking.runs import check_mode

_EXAMPLE = """example:
  python -m lit_privq study --config configs/study/digits.yaml --output runs/digits
The same command goes on where an interrupted study stopped."""


@dataclass(frozen=True)
class Hooks:
    """What the workers call, as ``module:function``; tests put their own in the place of training.

    Args:
        run: runs a command line.
        choose: picks the fleets.
        facts: reads the data and looks at the network.
    """

    run: str = "lit_privq.study.tasks:run_command"
    choose: str = "lit_privq.study.tasks:choose"
    facts: str = "lit_privq.study.tasks:facts"


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
    options = parser().parse_args(argv)
    study = read_study(options.config)
    _check(options)
    again = f"python -m lit_privq study {shlex.join(argv)}"
    try:
        if options.print_config:
            print(yaml.safe_dump(asdict(study), sort_keys=False), end="")
        elif options.dry_run:
            _dry_run(study, options, hooks)
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
        "--dry_run", action="store_true", help="print the commands of all jobs to do and what they cost, write nothing"
    )
    made.add_argument(
        "--data_root", "--data.root", type=Path, help="where the data sets lie (default: as the data config says)"
    )
    made.add_argument("--verify", action="store_true", help="read every finished file again, to find damaged ones")
    made.add_argument("--overwrite", action="store_true", help="replace finished models of another recipe")
    made.add_argument("--ignore_space", action="store_true", help="start even if the disk seems to be too small")
    made.add_argument("--print_config", action="store_true", help="print the study file as it is understood")
    return made


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot be meant."""
    if options.data_root and not options.data_root.is_dir():
        raise FileNotFoundError(
            f"--data_root must be a folder that holds the data sets; there is no {options.data_root}"
        )
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {options.jobs}")
    check_mode()


def _run(study: Study, options: argparse.Namespace, command: str, hooks: Hooks) -> None:
    """Everything that happens under the lock."""
    start = time.monotonic()
    root: Path = options.output
    _remove_part_files(root)
    earlier, ledger = read_record(root), Ledger(root, options.verify)
    ledger.take_waiting()
    with WorkerPool(size=options.jobs or 1, environment=WORKER) as pool:
        found = _facts(study, options, earlier, pool, hooks.facts)
        chosen = _all_chosen(study, options, earlier, pool, hooks.choose)
        names = {key: found["facts"][key] for key in ("dataset", "net", "titles")}
        record = study_record(study, command, earlier) | names | found | chosen
        fleets = _fleets(study, {name: one["choices"] for name, one in _by_recipe(study, chosen).items()})
        pool.size = options.jobs or fleets.jobs
        jobs = plan(study, root, fleets, options.data_root)
        reasons = ledger.unfinished(jobs)
        todo = plan(study, root, fleets, options.data_root, only=reasons)
        needed = bytes_needed(todo, found["facts"], _n_queries(study))
        if not options.overwrite:
            _check_overwritten(jobs, reasons, root)
        if not options.ignore_space:
            check_space(needed, root)
        _announce(jobs, todo, reasons, ledger, needed)

        def save() -> None:
            write_record(root, {**record, "seconds": stage_seconds(jobs, ledger)})

        save()
        progress = StudyProgress(todo, pool.size, sys.stderr, earlier=_finished_work(jobs, reasons, ledger))
        try:
            Engine(ledger, pool, progress, hooks.run, save).execute(todo)
        except StudyFailed:
            print(share(root), file=sys.stderr)
            raise
    if todo and (said := share(root)):
        print(said, file=sys.stderr)
    print(f"{root / 'report.html'} (after {duration(time.monotonic() - start)})")


def _dry_run(study: Study, options: argparse.Namespace, hooks: Hooks) -> None:
    """Print what would be run, and what it costs: disk, and time as far as a measurement here tells it."""
    root, earlier = options.output, read_record(options.output)
    with (
        tempfile.TemporaryDirectory() as folder,
        WorkerPool(size=1, environment=WORKER) as pool,
    ):
        log = Path(folder) / "log"
        facts = pool.call(Call("facts", hooks.facts, (study, _overrides(study, options)), log))
        shared = _overrides(study, options)
        measured = {
            one.name: pool.call(
                Call("choose", hooks.choose, (one.shadow, shared, study.fleet_of(one), options.jobs, True), log)
            )
            for one in study.recipes
        }
    n_jobs = options.jobs or tasks.cores()
    known = _by_recipe(study, earlier)
    choices = {
        one.name: _kept(study, one, known[one.name])
        or measured[one.name].value
        or {"size": study.fleet_of(one) or -(-study.n_models // n_jobs), "jobs": n_jobs}
        for one in study.recipes
    }
    fleets = _fleets(study, choices)
    jobs = plan(study, root, fleets, options.data_root)
    ledger = Ledger(root, options.verify)
    todo = plan(study, root, fleets, options.data_root, only=ledger.unfinished(jobs))
    print("".join(f"python -m lit_privq {shlex.join(job.argv)}\n" for job in todo), end="", flush=True)
    print("\n".join(_costs(study, jobs, todo, facts, measured, root, options.jobs or fleets.jobs)), file=sys.stderr)


def _costs(
    study: Study,
    jobs: Sequence[Job],
    todo: Sequence[Job],
    facts: Outcome,
    measured: Mapping[str, Outcome],
    root: Path,
    n_jobs: int,
) -> list[str]:
    """Lines on what a study will cost."""
    lines = [f"{len(todo)} of {len(jobs)} jobs to do"]
    if facts.error:
        return [*lines, f"data, network or methods: {facts.error}"]
    found = facts.value
    lines += [storage_line(bytes_needed(todo, found, _n_queries(study)), root)]
    lines += [f"data: {found['dataset']}, {found['examples']} examples, are there"]
    return lines + [_training_cost(one, todo, measured[one.name], n_jobs, study) for one in study.recipes]


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


def _overrides(study: Study, options: argparse.Namespace) -> list[str]:
    """Options of a training, as the study and its command give them."""
    return [*shared_options(study), *(["--data.root", str(options.data_root)] if options.data_root else [])]


def _n_queries(study: Study) -> int:
    return int(find(config_tree(Path(study.query)), "n_queries") or 1)


def _fleets(study: Study, choices: Mapping[str, Mapping[str, Any]]) -> Fleets:
    """The fleets of all recipes, from what was chosen for each; they share the first one's workers."""
    first, *others = study.recipes
    sizes = {name: choices[one.name]["size"] for one in others for name in one.names}
    return Fleets(choices[first.name]["size"], choices[first.name]["jobs"], sizes)


def _by_recipe(study: Study, record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a record holds of the choices for each recipe, by name; nothing where it was not chosen yet."""
    others = record.get("recipe_choices")
    kept = others if isinstance(others, dict) else {}
    return {study.recipes[0].name: record} | {one.name: kept.get(one.name, {}) for one in study.recipes[1:]}


def _kept(study: Study, recipe: Recipe, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What an earlier start chose for a recipe, if its question was the same."""
    return _usable(record.get("choices")) if record.get("chosen_for") == _question(study, recipe) else None


def _usable(choices: object) -> Mapping[str, Any] | None:
    """Choices of an earlier start, None if its record does not hold them."""
    whole = isinstance(choices, dict) and all(isinstance(choices.get(key), int) for key in ("size", "jobs"))
    return choices if whole else None  # type: ignore[return-value]  # a dict, then


def _question(study: Study, recipe: Recipe) -> str:
    """Digest of what a choice of fleets depends on; another question needs another answer."""
    fleet = study.fleet if recipe.fleet is None else recipe.fleet
    return _digest([fleet, training_recipe(study, recipe.shadow)])


def _digest(question: object) -> str:
    return hashlib.blake2b(json.dumps(question, default=str).encode(), digest_size=8).hexdigest()


def _facts(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], pool: WorkerPool, function: str
) -> dict[str, Any]:
    """Names and sizes of data, network and methods; of an earlier start where these are the same."""
    methods = [
        [row.name, row.bits, row.recipes, recipe("quantize", config_tree(Path(row.method)))] for row in study.quantize
    ]
    question = _digest(
        [{name: training_recipe(study, one.shadow) for one in study.recipes for name in one.names}, methods]
    )
    if earlier.get("facts_for") == question and isinstance(earlier.get("facts"), dict):
        return {"facts": earlier["facts"], "facts_for": question}
    log = log_of("facts", options.output)
    outcome = pool.call(Call("facts", function, (study, _overrides(study, options)), log))
    if outcome.error:
        raise ValueError(f"{outcome.error} (see {log})")
    return {"facts": outcome.value, "facts_for": question}


def _all_chosen(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], pool: WorkerPool, choose: str
) -> dict[str, Any]:
    """The choices for each recipe; a recipe that is added changes none of the others'."""
    known = _by_recipe(study, earlier)
    chosen = {one.name: _chosen(study, one, options, known[one.name], pool, choose) for one in study.recipes}
    first, *others = study.recipes
    return chosen[first.name] | ({"recipe_choices": {one.name: chosen[one.name] for one in others}} if others else {})


def _chosen(
    study: Study,
    one: Recipe,
    options: argparse.Namespace,
    earlier: Mapping[str, Any],
    pool: WorkerPool,
    choose: str,
) -> dict[str, Any]:
    """The choices of the first start are kept: other fleets could change the last digits of the results."""
    question = _question(study, one)
    if kept := _kept(study, one, earlier):
        return {"choices": kept, "chosen_for": question}
    fleet = study.fleet_of(one)
    arguments = (one.shadow, _overrides(study, options), fleet, options.jobs)
    if fleet and options.jobs:  # nothing to measure, nothing to import
        choices = tasks.choose(*arguments)
    else:
        log = log_of("choose", options.output)
        outcome = pool.call(Call("choose", choose, arguments, log))
        if outcome.error:
            raise ValueError(
                f"the fleets could not be chosen: {outcome.error}; see {log}, or set fleet: in the study file"
            )
        choices = outcome.value
    how = f", {choices['how']}" if choices.get("how", "alone") != "alone" else ""
    which = f"{one.name}: " if len(study.recipes) > 1 else ""
    print(f"{which}{choices['size']} models at once{how}, {choices['jobs']} workers: {choices['why']}", file=sys.stderr)
    return {"choices": choices, "chosen_for": question}


def _check_overwritten(jobs: Iterable[Job], reasons: Mapping[str, str], root: Path) -> None:
    """Refuse to train finished models anew by another recipe, unless that was asked for."""
    outputs = [path for job in jobs if job.stage == "train" for path in job.outputs]
    replaced = [path for path in outputs if reasons.get(path) == CHANGED]
    if replaced:
        raise ValueError(
            f"{len(replaced)} of {len(outputs)} models in {root} were trained by another recipe, code or version and "
            "would be replaced; choose another --output, or add --overwrite to train them again"
        )


def _remove_part_files(root: Path) -> None:
    """Remove what killed workers had begun to write; under the lock, no other is at work."""
    for pattern in (".*.part", "*/.*.part", "*/*/.*.part"):
        for path in root.glob(pattern):
            path.unlink(missing_ok=True)


def _finished_work(jobs: Sequence[Job], reasons: Mapping[str, str], ledger: Ledger) -> dict[Stage, tuple[int, float]]:
    """By stage, what earlier starts finished and the seconds that went into it."""
    work: dict[Stage, tuple[int, float]] = {}
    for stage in STAGES:
        done = [p for job in jobs if job.stage == stage for p in job.products if p.path not in reasons]
        n = min(len(done), 1) if stage in ("audit", "report") else len(done)
        work |= {stage: (n, ledger.seconds(done))} if n else {}
    return work


def _announce(
    jobs: Sequence[Job], todo: Sequence[Job], reasons: Mapping[str, str], ledger: Ledger, needed: int
) -> None:
    """Say what differs from the earlier start, what is in the way, and how much will be written."""
    finished = [job for job in jobs if not any(path in reasons for path in job.outputs)]
    lines = [f"{len(finished)} of {len(jobs)} jobs are finished"] if finished else []
    for job in todo:
        again = [reasons[path] for path in job.outputs if path in ledger.makers and reasons[path] != "waiting"]
        lines += [f"repeating {job.name}: {min(again, key=lambda why: why == WITH_ANOTHER)}"] if again else []
    lines += [
        f"{path} is not part of this study; remove it, or the audit will meet it" for path in _strays(jobs, ledger)
    ]
    lines += [storage_line(needed, ledger.root)] if needed > 1e9 else []
    print("".join(f"{line}\n" for line in lines), end="", file=sys.stderr)


def _strays(jobs: Iterable[Job], ledger: Ledger) -> list[Path]:
    """Confidences that the study does not make: whole folders, or single files in the folders it does make."""
    expected = {ledger.root / path for job in jobs for path in job.outputs}
    folders = {path.parent for path in expected}
    found = [path for path in sorted((ledger.root / "confidence").glob("*/*.npz")) if path not in expected]
    return list(dict.fromkeys(path if path.parent in folders else path.parent for path in found))
