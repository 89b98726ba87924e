"""Where a study's jobs run: workers of this machine, a Ray cluster, or SLURM."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.study import tasks
from lit_privq.study.engine import Workers, log_of, one_call
from lit_privq.study.plan import Stage
from lit_privq.study.workers import WORKER, Call, Resources, WorkerPool

ENGINES = ("local", "ray", "slurm")
_SLURM = "--slurm."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose an engine; those of sbatch, ``--slurm.X``, are as many as sbatch has."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="where jobs run: here, on a Ray cluster, or on SLURM, with options of sbatch as --slurm.partition gpu",
    )
    parser.add_argument("--address", help="of a running Ray cluster (default: one is started here)")


def slurm_options(extras: Sequence[str]) -> dict[str, str]:
    """Options of sbatch among those that a parser did not know.

    Raises:
        ValueError: if there are others, or one has no value.

    >>> slurm_options(["--slurm.partition", "gpu", "--slurm.time=60"])
    {'partition': 'gpu', 'time': '60'}
    """
    words = [part for extra in extras for part in (extra.split("=", 1) if extra.startswith(_SLURM) else [extra])]
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(name.startswith(_SLURM) for name in names):
        wrong = next((name for name in words if not name.startswith(_SLURM)), words[-1])
        raise ValueError(f"unknown option {wrong}, or one without a value; options of sbatch are --slurm.NAME VALUE")
    return {name.removeprefix(_SLURM).replace("-", "_"): value for name, value in zip(names, values, strict=True)}


def opened(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """The pool of the engine that was asked for.

    Raises:
        ValueError: if what it needs is not there.
    """
    if options.engine == "ray":
        from lit_privq.study.ray_pool import RayPool  # here: an extra

        return RayPool(WORKER, options.address, options.jobs)
    if options.engine == "slurm":
        from lit_privq.study.slurm_pool import SlurmPool

        return SlurmPool(options.output, WORKER, options.slurm)
    return WorkerPool(options.jobs or tasks.workers(), WORKER, tasks.gpus())


def resources_of(choices: Mapping[str, Any]) -> dict[Stage, Resources]:
    """What the jobs of each stage take: a training a whole GPU, quantizers and queries as little as a quarter.

    Args:
        choices: of a fleet, with ``gpu_bytes`` and ``fleet_bytes`` where these were measured.
    """
    fleet = choices.get("fleet_bytes", 0)
    fit = choices.get("gpu_bytes", 0) // fleet if fleet else 2
    shared = Resources(gpu=1 / min(max(fit, 1), 4))
    return {"train": Resources(gpu=1), "quantize": shared, "query": shared, "audit": Resources(), "report": Resources()}


def check_storage(pool: Workers, root: Path) -> None:
    """Have a worker read what was written here.

    Raises:
        ValueError: if it cannot.
    """
    path, token = root / ".seen", uuid.uuid4().hex
    atomic_write_bytes(path, token.encode())
    log = log_of("storage", root)
    outcome = one_call(pool, Call("storage", "lit_privq.study.tasks:see", (path.absolute(), token), log))
    path.unlink(missing_ok=True)
    if outcome.error:
        raise ValueError(f"the study's folder must be on storage that all workers see; {outcome.error}")
