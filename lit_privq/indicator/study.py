"""The estimation study: experiments of a file, run where they are missing, and drawn.

python -m lit_privq.indicator.study run --config configs/study/mis_synthetic.yaml --output DIR
python -m lit_privq.indicator.study show --folders '[DIR, OTHER]' --output docs/results
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_privq.commit import commit
from lit_privq.data.membership import half_membership
from lit_privq.data.pool import Pool, Source
from lit_privq.indicator.claims import read_study, write_claims
from lit_privq.indicator.estimate import run_experiment
from lit_privq.indicator.exhibits import draw_exhibits
from lit_privq.indicator.heads import Recipe, Task
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
    """

    dataset: Source
    recipe: Recipe = field(default_factory=Recipe)
    runs: int = 64
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class IndicatorStudy:
    """What a study file holds.

    Args:
        experiments: by name.
        root: folder of the data sets; None takes the environment variable LIT_PRIVQ_DATA, then ``datasets``.
        finite: problems with a known truth, solved beside the experiments; None for none.
    """

    experiments: dict[str, Experiment] = field(default_factory=dict)
    root: str | None = None
    finite: FiniteProblems | None = None

    @property
    def folder(self) -> Path:
        """Where the data sets are."""
        return Path(self.root or os.environ.get("LIT_PRIVQ_DATA") or "datasets")

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


def task_of(pool: Pool) -> Task:
    """The pool as heads see it: a constant feature appended, values standardised, an even number of examples.

    Where the pool is odd its last example joins the reference set, so that all runs train on equally many.
    """
    even = len(pool.labels) // 2 * 2
    inputs = torch.cat([_with_constant(pool.inputs), _with_constant(pool.test_inputs)])
    targets = torch.cat([pool.labels, pool.test_labels])
    if not pool.n_classes:
        targets = (targets - pool.labels.mean()) / pool.labels.std()
    return Task(inputs[:even], targets[:even], inputs[even:], targets[even:], pool.n_classes)


def run_study(study: IndicatorStudy, output: Path) -> None:
    """Run what the output folder does not hold yet, one file per experiment.

    Args:
        study: the file's content.
        output: the study's folder.
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
        pool = experiment.dataset.load(study.folder, download=False)
        task = task_of(pool)
        loaded = time.process_time()
        members = half_membership(experiment.runs, len(task.targets), experiment.recipe.seed)
        runs = run_experiment(name, task, members, experiment.recipe, quantizers)
        seconds = time.process_time() - loaded
        origin = {"made_by": made_by, "commit": commit(), "experiment": repr(experiment), "data": pool.name}
        write_runs(path, replace(runs, meta={**runs.meta, "cpu_seconds": seconds, **origin}))
        print(f"{experiment.runs} runs in {seconds:.0f} CPU-seconds")


def run(study: IndicatorStudy, output: str) -> None:
    """Run what is missing of a study, then write its tables and figures.

    Args:
        study: a file such as configs/study/mis_synthetic.yaml, given with --config.
        output: the study's folder; what it holds is not run again.
    """
    run_study(study, Path(output))
    show([output], output)


def show(folders: list[str], output: str) -> None:
    """Write the table of claims and draw the exhibits from stored runs.

    Args:
        folders: of studies.
        output: where mis.md, claims.json and figures/ go.
    """
    runs, truth = read_study([Path(folder) for folder in folders])
    write_claims(runs, truth, Path(output))
    draw_exhibits(runs, truth, Path(output) / "figures")


def main(argv: Sequence[str]) -> None:
    """Run a study file, or show what studies have found.

    Args:
        argv: ``run --config FILE --output DIR`` or ``show --folders '[DIR, DIR]' --output DIR``.

    Raises:
        ValueError: if a value in the file is wrong.
        FileNotFoundError: if a file of the data is missing.
    """
    from jsonargparse import auto_cli

    auto_cli([run, show], args=list(argv), as_positional=False)


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


if __name__ == "__main__":
    main(sys.argv[1:])
