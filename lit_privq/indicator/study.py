"""A study of the indicator: experiments of a file, run where they are missing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_privq.commit import commit
from lit_privq.data.membership import half_membership
from lit_privq.data.pool import Pool, Source
from lit_privq.indicator.estimate import run_experiment
from lit_privq.indicator.heads import HeadData, HeadRecipe
from lit_privq.indicator.problems import FiniteProblems, solve_problems
from lit_privq.indicator.quantizers import compared_quantizers
from lit_privq.indicator.runs import StoredRuns, read_runs, write_runs


@dataclass(frozen=True)
class Experiment:
    """Heads trained on halves of one data set.

    Args:
        dataset: a source with a ``seed``; its test set is the reference set.
        recipe: how heads are trained.
        runs: heads, an even number; each example trains half of them.
        seeds: the experiment is repeated with each, for data, split and training alike.
        attacked_subsets: random subsets of the runs, per size, that LiRA attacks alone, to see how many runs it needs.
    """

    dataset: Source
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    runs: int = 64
    seeds: tuple[int, ...] = (0,)
    attacked_subsets: int = 0


@dataclass(frozen=True)
class IndicatorStudy:
    """What a study file holds.

    Args:
        experiments: by name.
        finite: problems with a known truth, solved beside the experiments; None for none.
    """

    experiments: dict[str, Experiment] = field(default_factory=dict)
    finite: FiniteProblems | None = None

    def repetitions(self) -> Iterator[tuple[str, Experiment]]:
        """Every experiment with each of its seeds, as ``name-seed``."""
        for name, experiment in self.experiments.items():
            for seed in experiment.seeds:
                dataset: Any = experiment.dataset
                yield (
                    f"{name}-{seed}",
                    replace(
                        experiment,
                        dataset=replace(dataset, seed=seed),
                        recipe=replace(experiment.recipe, seed=seed),
                        seeds=(seed,),
                    ),
                )


def head_data(pool: Pool) -> HeadData:
    """The pool as heads see it: a constant feature appended, values standardised, an even number of examples.

    Where the pool is odd its last example joins the reference set, so that all runs train on equally many.
    """
    even = len(pool.labels) // 2 * 2
    inputs = torch.cat([_with_constant(pool.inputs), _with_constant(pool.test_inputs)])
    targets = torch.cat([pool.labels, pool.test_labels])
    if not pool.n_classes:
        targets = (targets - pool.labels.mean()) / pool.labels.std()
    return HeadData(inputs[:even], targets[:even], inputs[even:], targets[even:], pool.n_classes)


def run_study(study: IndicatorStudy, output: Path, root: Path) -> None:
    """Run what the output folder does not hold yet, one file per experiment.

    Args:
        study: the file's content.
        output: the study's folder.
        root: folder of the data sets.
    """
    quantizers = compared_quantizers()
    (output / "runs").mkdir(parents=True, exist_ok=True)
    if study.finite is not None:
        _solve(study.finite, output)
    for name, experiment in study.repetitions():
        path = output / "runs" / f"{name}.npz"
        made_by = _hash(experiment, quantizers)
        if path.exists() and read_runs(path, StoredRuns).meta["made_by"] == made_by:
            continue
        print(f"{name}: ", end="", flush=True)
        pool = experiment.dataset.load(root, download=False)
        task = head_data(pool)
        loaded = time.process_time()
        members = half_membership(experiment.runs, len(task.targets), experiment.recipe.seed)
        runs = run_experiment(name, task, members, experiment.recipe, quantizers, experiment.attacked_subsets)
        seconds = time.process_time() - loaded
        origin = {"made_by": made_by, "commit": commit(), "experiment": repr(experiment), "data": pool.name}
        write_runs(path, replace(runs, meta={**runs.meta, "cpu_seconds": seconds, **origin}))
        print(f"{experiment.runs} runs in {seconds:.0f} CPU-seconds")


def _solve(problems: FiniteProblems, output: Path) -> None:
    """Solve the problems with a known truth, unless that was done."""
    path = output / f"finite-{_hash(problems)}.npz"
    if not path.exists():
        for older in output.glob("finite-*.npz"):
            older.unlink()
        print("finite problems: ", end="", flush=True)
        began = time.process_time()
        solve_problems(problems).write(path)
        print(f"{problems.problems} in {time.process_time() - began:.0f} CPU-seconds")


def _with_constant(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)


def _hash(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()
