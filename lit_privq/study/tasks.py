"""Functions that workers call; torch and Lightning are imported inside them, once per worker."""

from __future__ import annotations

import gc
import importlib
import os
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_privq.artifacts.diverged import Diverged
from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import Job
from lit_privq.study.receipt import Receipt, file_stamp, write_receipt
from lit_privq.study.running import noted
from lit_privq.study.study_file import Study


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


REAL = Hooks()


def run_command(argv: Sequence[str]) -> None:
    """Run one command line of lit_privq in this process.

    Args:
        argv: verb and options, as behind ``python -m lit_privq``.
    """
    verb, *options = argv
    if verb in ("audit", "report"):
        importlib.import_module(f"lit_privq.{verb}.command").main(options)
    else:
        importlib.import_module("lit_privq.data.reading").keep_last()
        importlib.import_module("lit_privq.cli").main(list(argv))


def perform(run: str, job: Job, root: Path, hashes: Mapping[str, str], leave_out: bool = False) -> Receipt:
    """Run a job and leave its receipt, with the stamps of what it wrote.

    Files of models that diverged are told apart in the receipt: made again neither now nor at the next start.

    Args:
        run: ``module:function`` that runs a command line.
        job: whose needs are finished.
        root: the study's folder.
        hashes: by file, of what goes into it.
        leave_out: whether models that diverge are left out; they are an error otherwise.

    Raises:
        RuntimeError: if it left an output out.
        Diverged: if models diverged and are not left out; the others' files are on the receipt all the same.
    """
    print("python -m lit_privq", shlex.join(job.argv), flush=True)
    with noted(root, job.name):
        return _performed(run, job, root, hashes, leave_out)


def _performed(run: str, job: Job, root: Path, hashes: Mapping[str, str], leave_out: bool) -> Receipt:
    start = time.monotonic()
    module, function = run.split(":")
    ended, diverged = "", None
    try:
        call = getattr(importlib.import_module(module), function)
        copy_context().run(call, list(job.argv))  # jsonargparse leaves its parser, and thus the data, in its context
    except SystemExit as end:  # Lightning ends a fit at SIGTERM with one that has no code, as if all were done
        if end.code:
            raise
        ended = f" ({type(end).__name__})"
    except Diverged as error:
        diverged = error
    finally:
        gc.collect()  # trainer, module and data hold each other, and Python does not see how large their tensors are
        gc.freeze()  # what is left are the libraries, a quarter of a second each time that they are looked through
    lost = tuple(path for path in job.outputs if diverged and _is_lost(root / path, diverged.models))
    made = [path for path in job.outputs if path not in lost]
    missing = [path for path in made if not (root / path).is_file()]
    if missing:
        raise RuntimeError(
            f"it ended{ended} without writing {missing[0]} ({len(missing)} of {len(job.outputs)} files are missing)"
        )
    more = [path for folder in job.folders for path in sorted((root / folder).rglob("*")) if path.is_file()]
    paths = dict.fromkeys([*made, *(path.relative_to(root).as_posix() for path in more)])
    stamps = {path: file_stamp(root / path) for path in paths}
    recipes = {product.path: product.recipe for product in job.products}
    receipt = Receipt(job.name, stamps, hashes, round(time.monotonic() - start, 3), lost, recipes)
    write_receipt(root, receipt)
    if diverged and not leave_out:
        raise diverged
    return receipt


def _is_lost(path: Path, models: Sequence[int]) -> bool:
    """Whether a file was not made because its model diverged: at an early stop it may have been sound."""
    return int(path.stem) in models and not path.is_file()


def attempt(run: str, job: Job, root: Path, needed: Sequence[Job], leave_out: bool = False) -> Receipt:
    """Run a job, unless it is finished by now, if what it needs is.

    Args:
        run: ``module:function`` that runs a command line.
        job: with all its files to make.
        root: the study's folder.
        needed: the job behind all those that it needs, directly or by way of each other.
        leave_out: see `perform`.

    Raises:
        RuntimeError: if what it needs is not finished.
    """
    ledger = Ledger(root)
    reasons = ledger.unfinished(needed)
    if missing := [path for path in job.inputs if path in reasons]:
        raise RuntimeError(f"it needs {missing[0]}, which is not finished")
    if not any(path in reasons for path in job.outputs):
        return ledger.makers[job.outputs[0]]
    return perform(run, job, root, ledger.hashes(job), leave_out)


def see(path: Path, token: str) -> None:
    """Read what the study wrote.

    Raises:
        ValueError: if it is not there.
    """
    if not path.is_file() or path.read_text(encoding="ascii") != token:
        raise ValueError(f"a worker on {socket.gethostname()} does not find {path}, which was just written there")


def choose(
    shadow: str, overrides: list[str], fleet: int | None, jobs: int | None, measured: bool = False
) -> dict[str, Any]:
    """Decide how many models a worker trains at once, by measurement.

    Args:
        shadow: config that trains a model.
        overrides: options of the study, added to that config.
        fleet: models at once, None to choose.
        jobs: workers that share this machine, None for one per core, or one per GPU.
        measured: whether to measure a fleet that is given, too.

    Returns:
        ``size`` (models at once) and ``why``; where it was measured, ``how`` they are stacked, ``step_seconds`` per
        model and ``steps`` of a training.
    """
    if fleet and not measured:
        return {"size": fleet, "why": "the study file says so"}
    from lit_privq.study import fleet_size  # here: seconds

    return fleet_size.choose(Path(shadow), overrides, jobs or workers(), fleet, max(1, len(gpus())))


def facts(study: Study, overrides: list[str]) -> dict[str, Any]:
    """See `lit_privq.study.facts.facts`."""
    from lit_privq.study import facts  # here: seconds

    return facts.facts(study, overrides)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(k) for k in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def workers() -> int:
    """Workers that suit this machine: one per GPU, else one per core."""
    return len(gpus()) or cores()
