"""Where a study's jobs run: workers of this machine, a Ray cluster, or SLURM."""

from __future__ import annotations

import argparse
import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.study import tasks
from lit_privq.study.engine import Workers, log_of, one_call
from lit_privq.study.plan import STAGES, Stage
from lit_privq.study.study_file import Study
from lit_privq.study.workers import WORKER, Call, Resources, WorkerPool

ENGINES = ("local", "ray", "slurm")
_SLURM = "--slurm."
_GIB = 2**30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose an engine; those of sbatch, ``--slurm.X``, are as many as sbatch has."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="where jobs run: here, on a Ray cluster, or on SLURM, with options of sbatch as --slurm.partition gpu",
    )
    parser.add_argument("--address", help="of a running Ray cluster (default: one is started here)")
    parser.add_argument(
        "--resources",
        default="{}",
        help="of a job of each stage, on Ray and SLURM, over those of the study file: '{train: {cpus: 2, gpu: 0.5, "
        "memory: 8}}', memory in GiB",
    )


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


def with_resources(study: Study, given: str) -> Study:
    """A study with the resources of a command line over those of its file.

    Args:
        study: what `read_study` returned.
        given: YAML, as ``{train: {memory: 8}}``.

    Raises:
        ValueError: if they cannot be meant.
    """
    try:
        more = yaml.safe_load(given)
    except yaml.YAMLError:
        more = given
    if not isinstance(more, dict) or not all(isinstance(amounts, dict) for amounts in more.values()):
        raise ValueError(f"--resources must be amounts by stage, such as '{{train: {{memory: 8}}}}'; got {given}")
    stages = {**study.resources, **more}
    merged = {stage: {**study.resources.get(stage, {}), **more.get(stage, {})} for stage in stages}
    for stage, amounts in merged.items():
        _check_resources(stage, amounts)
    return replace(study, resources=merged)


def _check_resources(stage: str, amounts: Mapping[str, Any]) -> None:
    """Refuse what no job can take."""
    if stage not in STAGES:
        raise ValueError(f"resources are those of a stage, {', '.join(STAGES)}; got {stage}, correct the name")
    can = {"cpus": lambda n: n >= 1 and n == int(n), "gpu": lambda n: 0 <= n <= 1, "memory": lambda n: 0 < n < math.inf}
    for name, n in amounts.items():
        if name not in can or isinstance(n, bool) or not isinstance(n, int | float) or not can[name](n):
            raise ValueError(
                f"resources of {stage} must be cpus, a whole number, gpu, a share from 0 to 1, or memory, in GiB and "
                f"above 0; got {name}: {n}, correct it"
            )


def resources_of(choices: Mapping[str, Any], asked: Mapping[str, Mapping[str, float]]) -> dict[Stage, Resources]:
    """What the jobs of each stage take: a training a whole GPU, quantizers and queries as little as a quarter.

    Args:
        choices: of a fleet, with ``gpu_bytes`` and ``fleet_bytes`` where these were measured.
        asked: by the study, by stage, where it says so; see `with_resources`.
    """
    fleet = choices.get("fleet_bytes", 0)
    fit = choices.get("gpu_bytes", 0) // fleet if fleet else 2
    shared = 1 / min(max(fit, 1), 4)
    gpus = {"train": 1.0, "quantize": shared, "query": shared}
    return {stage: _resources(gpus.get(stage, 0.0), asked.get(stage, {})) for stage in STAGES}


def _resources(gpu: float, asked: Mapping[str, float]) -> Resources:
    """What a job takes: what was asked for, else one core and a share of a GPU that is a guess."""
    memory = int(asked.get("memory", 0) * _GIB)
    return Resources(int(asked.get("cpus", 1)), asked.get("gpu", gpu), memory, asked="gpu" in asked)


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
