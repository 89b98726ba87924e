"""Stored estimates, from which tables and figures are made, one file per experiment; NumPy only."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.indicator.gaps import Gaps, bernstein_bound, indicator, indicator_lse
from lit_privq.indicator.reach import DRIFTING, cautions, drifting
from lit_privq.indicator.stability import spearman

Array = NDArray[np.float64]

FULL_PRECISION = "full"


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimates:
    """Q quantizers estimated on R runs of T snapshots each.

    Args:
        quantizers: (Q,) names; the last is full precision.
        best: (Q, R) the snapshot of least expected loss.
        gap_mean: (Q, R, T) float64, NaN where a snapshot is no competitor.
        gap_variance: (Q, R, T).
        gap_reach: (Q, R, T).
        distinct: (Q, R) distinct codewords, C.
        performance: (Q, R) of the final models on examples that none trained on.
        train_score: (R,) accuracy, or R squared, of full precision on the members.
        meta: at least ``n`` (members of a run), ``kind`` ("classification" or "regression"), ``metric`` (of
            performance), ``weights``, ``data`` (name of the data set).
    """

    quantizers: tuple[str, ...]
    best: NDArray[np.int64]
    gap_mean: Array
    gap_variance: Array
    gap_reach: Array
    distinct: NDArray[np.int64]
    performance: Array
    train_score: Array
    meta: Mapping[str, Any]

    @property
    def n(self) -> int:
        """Size of a training set."""
        return int(self.meta["n"])

    @cached_property
    def gaps(self) -> Gaps:
        """The gaps of every quantizer and run."""
        return Gaps(self.best, self.gap_mean, self.gap_variance, self.gap_reach)

    @cached_property
    def r(self) -> Array:
        """The indicator, (Q, R); +inf in a run without competitors."""
        return indicator(self.gaps)

    @cached_property
    def r_quartiles(self) -> Array:
        """Quartiles of r over runs, (3, Q), each the value of a run: r may be +inf, which has no mean."""
        return np.asarray(np.quantile(self.r, [0.25, 0.5, 0.75], axis=1, method="nearest"))

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
        medians, train_score = self.r_quartiles[1], float(self.train_score.mean())
        values = zip(self.quantizers, medians * self.n, self.saturation, self.censored, strict=True)
        told: dict[str, tuple[str, ...]] = {}
        for name, n_times_r, saturation, censored in values:
            for reason in cautions(n_times_r, saturation, train_score, censored):
                told[reason] = (*told.get(reason, ()), name)
        if drifting(dict(zip(self.quantizers, medians, strict=True)), FULL_PRECISION):
            told[DRIFTING] = self.quantizers
        return told


Runs = TypeVar("Runs", bound=Estimates)


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredRuns(Estimates):
    """One experiment, with what else was measured on its heads.

    Args:
        name: of the experiment.
        agreement: (Q,) code agreement over the final weights of all runs, each with a scale of its own.
        flip_margin: (Q,) of the final weights; -inf for full precision, whose codes always differ.
        advantage: (Q,) largest TPR - FPR of LiRA on the final models, each quantized with a scale of its own.
        advantage_public: (Q,) the same where all models share one scale.
        advantage_of_subsets: (Q, sizes, subsets) of LiRA with fewer runs; no subsets where that was not asked for.
        meta: also ``head`` ("linear" or "deep"), ``cpu_seconds``, ``made_by`` and, since it is recorded, ``commit``.
    """

    name: str
    agreement: Array
    flip_margin: Array
    advantage: Array
    advantage_public: Array
    advantage_of_subsets: Array

    @property
    def synthetic(self) -> bool:
        """Whether the data were drawn from a known distribution."""
        return str(self.meta["data"]).startswith("gaussian")

    def stability_of_lira(self) -> Array:
        """Rank correlation over quantizers of LiRA's advantage on subsets with that on all runs, (sizes, subsets)."""
        found = np.empty(self.advantage_of_subsets.shape[1:])
        for size, subset in np.ndindex(*found.shape):
            found[size, subset] = spearman(self.advantage_of_subsets[:, size, subset], self.advantage)
        return found

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


def write_runs(path: Path, runs: Estimates) -> None:
    """Store estimates, whole or not at all."""
    arrays = {field.name: getattr(runs, field.name) for field in fields(runs)}
    content = BytesIO()
    np.savez_compressed(content, **{**arrays, "meta": np.array(json.dumps(dict(runs.meta)))})
    atomic_write_bytes(path, content.getvalue())


def read_runs(path: Path, kind: type[Runs]) -> Runs:
    """Read estimates back.

    Args:
        path: a file of `write_runs`.
        kind: what was written: `StoredRuns`, or `lit_privq.indicator.shadows.ShadowRuns`.

    Raises:
        ValueError: if the file is damaged, or holds something else.
    """
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            stored = {field.name: file[field.name] for field in fields(kind)}
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no stored indicator, or is damaged ({error}); delete it, and run what wrote it again"
        ) from error
    values: dict[str, Any] = {name: value if value.ndim else value.item() for name, value in stored.items()}
    return kind(**values | {"meta": json.loads(values["meta"]), "quantizers": tuple(values["quantizers"].tolist())})
