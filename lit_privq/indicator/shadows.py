"""The indicator of a study's own models, as `callbacks.MisIndicator` writes it: a file per model; NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.indicator.codes import code_agreement
from lit_privq.indicator.runs import Array, Estimates, read_runs


@dataclass(frozen=True, eq=False, kw_only=True)
class ShadowRuns(Estimates):
    """R models of a study; a file holds one.

    Args:
        models: (R,) their indices.
        bits: (Q,) precisions; 32 in full precision.
        codes: (Q - 1, R, weights) unsigned integers, what the final weights become, each model with scales of its own;
            of large networks the codes of the same random weights in every model. None of full precision.
        meta: also ``net``, ``every`` (optimizer steps from one snapshot to the next) and ``examples`` (of the
            reference set).
    """

    models: NDArray[np.int64]
    bits: Array
    codes: NDArray[Any]

    @property
    def snapshots(self) -> int:
        """Number of snapshots, T."""
        return int(self.gap_mean.shape[2])

    @cached_property
    def agreement(self) -> Array:
        """Code agreement over the models, (Q,): 0 in full precision, NaN for a single model."""
        if len(self.models) < 2:
            return np.full(len(self.quantizers), np.nan)
        return np.array([*(code_agreement(codes) for codes in self.codes), 0.0])

    def counterpart(self, method: str, bits: float) -> int | None:
        """The quantizer that stands for a method at a precision: its own, or the most accurate at these bits.

        Args:
            method: as in a variant's name; its words (``ternary_90``) are among those of its quantizer.
            bits: of all layers.

        Returns:
            Its row, None where no quantizer has these bits.
        """
        rows = [row for row, own in enumerate(self.bits) if own == bits]
        named = [row for row in rows if set(method.split("_")) <= set(self.quantizers[row].split("-"))]
        return max(named or rows, key=lambda row: float(self.performance[row].mean()), default=None)


def read_shadows(folder: Path) -> ShadowRuns | None:
    """All models in a folder, in order; None where there is none.

    Raises:
        ValueError: if a file is damaged, or models were measured in different ways.
    """
    paths = sorted(folder.glob("*.npz"))
    parts = [read_runs(path, ShadowRuns) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        _check_alike(paths[0], parts[0], path, part)
    return joined(parts) if parts else None


def joined(parts: Sequence[ShadowRuns]) -> ShadowRuns:
    """Models as one; n is the least of theirs."""
    across = ("best", "gap_mean", "gap_variance", "gap_reach", "distinct", "performance", "codes")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in across}
    arrays |= {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("models", "train_score")}
    return replace(parts[0], **arrays, meta={**parts[0].meta, "n": min(part.n for part in parts)})


def _check_alike(path: Path, one: ShadowRuns, other_path: Path, other: ShadowRuns) -> None:
    """Refuse models that do not belong to one study."""

    def made(runs: ShadowRuns) -> Mapping[str, Any]:
        how = {key: value for key, value in runs.meta.items() if key != "n"}
        return {**how, "quantizers": runs.quantizers, "snapshots": runs.snapshots, "codes": runs.codes.shape[2]}

    differing = [key for key, value in made(one).items() if made(other).get(key) != value]
    if differing:
        raise ValueError(
            f"{path} and {other_path} differ in {', '.join(differing)}; delete the older, and train its model again"
        )
