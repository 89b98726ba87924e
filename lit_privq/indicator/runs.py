"""What an experiment leaves behind: everything that tables and figures are made of, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.indicator.gaps import Gaps, bernstein_bound, indicator, indicator_lse
from lit_privq.indicator.reach import DRIFTING, cautions, drifting
from lit_privq.indicator.stability import spearman

Array = NDArray[np.float64]

FULL_PRECISION = "full"


@dataclass(frozen=True, eq=False)
class StoredRuns:
    """One experiment: Q quantizers estimated on R runs of T snapshots each.

    Args:
        name: of the experiment.
        quantizers: (Q,) names; the last is full precision.
        best: (Q, R) the snapshot of least expected loss.
        gap_mean: (Q, R, T) float64, NaN where a snapshot is no competitor.
        gap_variance: (Q, R, T).
        gap_reach: (Q, R, T).
        distinct: (Q, R) distinct codewords, C.
        agreement: (Q,) code agreement over the final weights of all runs, each with a scale of its own.
        flip_margin: (Q,) of the final weights; -inf for full precision, whose codes always differ.
        advantage: (Q,) largest TPR - FPR of LiRA on the final models, each quantized with a scale of its own.
        advantage_public: (Q,) the same where all models share one scale.
        performance: (Q, R) of the final models on examples that none trained on.
        train_score: (R,) accuracy, or R squared, of full precision on the members.
        meta: at least ``n`` (members of a run), ``kind`` ("classification" or "regression"), ``metric`` (of
            performance), ``head`` ("linear" or "deep"), ``weights``, ``data`` (name of the data set),
            ``cpu_seconds``, ``made_by``.
    """

    name: str
    quantizers: tuple[str, ...]
    best: NDArray[np.int64]
    gap_mean: Array
    gap_variance: Array
    gap_reach: Array
    distinct: NDArray[np.int64]
    agreement: Array
    flip_margin: Array
    advantage: Array
    advantage_public: Array
    performance: Array
    train_score: Array
    meta: Mapping[str, Any]

    @property
    def n(self) -> int:
        """Size of a training set."""
        return int(self.meta["n"])

    @property
    def synthetic(self) -> bool:
        """Whether the data were drawn from a known distribution."""
        return str(self.meta["data"]).startswith("gaussian")

    @cached_property
    def gaps(self) -> Gaps:
        """The gaps of every quantizer and run."""
        return Gaps(self.best, self.gap_mean, self.gap_variance, self.gap_reach)

    @cached_property
    def r(self) -> Array:
        """The indicator, (Q, R); +inf in a run without competitors."""
        return indicator(self.gaps)

    @cached_property
    def r_lse(self) -> Array:
        """Its companion over all competitors, (Q, R)."""
        return indicator_lse(self.gaps, self.n)

    @cached_property
    def bernstein(self) -> Array:
        """The lower bound on the security, (Q, R)."""
        return bernstein_bound(self.gaps, self.n)

    @property
    def censored(self) -> Array:
        """Share of runs without competitors, (Q,)."""
        return np.asarray(np.isinf(self.r).mean(axis=1))

    @property
    def saturation(self) -> Array:
        """Median share of snapshots that have a codeword of their own, C / T, (Q,)."""
        return np.asarray(np.median(self.distinct, axis=1) / self.gap_mean.shape[2])

    @property
    def kept_performance(self) -> Array:
        """Mean performance as a share of full precision's, (Q,)."""
        mean = self.performance.mean(axis=1)
        return np.asarray(mean / mean[self.quantizers.index(FULL_PRECISION)])

    def cautions(self) -> dict[str, tuple[str, ...]]:
        """What speaks against reading r as privacy, and for which quantizers."""
        medians, train_score = np.median(self.r, axis=1), float(self.train_score.mean())
        values = zip(self.quantizers, medians * self.n, self.saturation, self.censored, strict=True)
        told: dict[str, tuple[str, ...]] = {}
        for name, n_times_r, saturation, censored in values:
            for reason in cautions(n_times_r, saturation, train_score, censored):
                told[reason] = (*told.get(reason, ()), name)
        if drifting(dict(zip(self.quantizers, medians, strict=True)), FULL_PRECISION):
            told[DRIFTING] = self.quantizers
        return told

    def agreement_with_lira(self) -> dict[str, float]:
        """Spearman correlation of each privacy measure with 1 - LiRA advantage, over quantizers."""
        measures = {
            "r": np.median(self.r, axis=1),
            "r_lse": np.median(self.r_lse, axis=1),
            "code agreement": self.agreement,
            "flip margin": self.flip_margin,
        }
        return {name: spearman(measure, -self.advantage) for name, measure in measures.items()} | {
            "r, public scale": spearman(measures["r"], -self.advantage_public)
        }


def write_runs(path: Path, runs: StoredRuns) -> None:
    """Store an experiment, whole or not at all."""
    arrays = {field.name: getattr(runs, field.name) for field in fields(runs)}
    arrays |= {"name": runs.name, "quantizers": np.array(runs.quantizers), "meta": json.dumps(dict(runs.meta))}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)


def read_runs(path: Path) -> StoredRuns:
    """Read an experiment back.

    Raises:
        ValueError: if the file is not one.
    """
    with np.load(path) as file:
        missing = {field.name for field in fields(StoredRuns)} - set(file.files)
        if missing:
            raise ValueError(
                f"{path} is no stored indicator experiment, it lacks {sorted(missing)}; run the study again"
            )
        arrays = {name: file[name] for name in file.files}
    arrays["meta"] = json.loads(str(arrays["meta"]))
    arrays |= {"name": str(arrays["name"]), "quantizers": tuple(map(str, arrays["quantizers"]))}
    return StoredRuns(**arrays)
