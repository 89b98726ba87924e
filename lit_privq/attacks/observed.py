"""Confidences of models on a pool and their training members: the input of every attack, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.mapped import prefetch
from lit_privq.attacks.confidence import logit_confidence
from lit_privq.metrics.members import as_members

Floats = NDArray[np.floating[Any]]

_READ = 1 << 24  # values read at a time: mapped files are faster in large pieces


@dataclass
class _Piece:
    """Confidences of consecutive examples, from ``start`` on, (models, examples, queries)."""

    start: int = 0
    values: Floats = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))

    def find(self, rows: slice) -> Floats | None:
        """Some of its examples; None if it does not hold all of them."""
        first, last = rows.start - self.start, rows.stop - self.start
        return self.values[:, first:last] if first >= 0 and last <= self.values.shape[1] else None


@dataclass(frozen=True, eq=False)
class Observed:
    """Confidences of M models on N examples, and which examples each model trained on.

    Args:
        confidence: (models, examples, queries), or (models, examples) of one query, or a sequence of one such array for
            each model, which may be memory-mapped: log-odds of the true class, or of a regression minus the squared
            error; larger is better.
        members: (models, examples) bool, or 0 and 1.
        logits: (models, examples, queries, classes) or one array a model; None where only confidences were kept.
        labels: (examples,), needed with logits; integers, or floats where they are values of a regression.
        finite: whether the confidences are known to be finite, and need not be read to see it.

    Raises:
        ValueError: if shapes disagree, the mask is not boolean, or values are NaN or infinite (how many, which model,
            which example).

    >>> models = Observed(np.array([[2.0, -1.0], [0.5, 3.0]]), np.array([[1, 0], [0, 1]]))
    >>> models.queries, models.members.tolist()
    (1, [[True, False], [False, True]])
    """

    confidence: Floats | Sequence[Floats]
    members: NDArray[np.bool_]
    logits: Floats | Sequence[Floats] | None = None
    labels: NDArray[Any] | None = None
    finite: bool = False
    _piece: _Piece = field(default_factory=_Piece, init=False, repr=False)

    def __post_init__(self) -> None:
        members = as_members(self.members)
        if members.ndim != 2:
            raise ValueError(f"members must be (models, examples); got shape {members.shape}")
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "confidence", _with_queries(self.confidence))
        shapes = [np.shape(one) for one in self.confidence]
        wrong = [shape for shape in shapes if len(shape) != 2 or shape != shapes[0] or shape[0] != members.shape[1]]
        if len(shapes) != len(members) or wrong:
            got = f"{len(shapes)} models of {wrong[0] if wrong else shapes[0] if shapes else ()}"
            raise ValueError(
                f"confidence must be (models, examples, queries) with the models and examples of members "
                f"{members.shape}; got {got}"
            )
        if not self.finite:
            for model, one in enumerate(self.confidence):
                _check_finite(model, one)

    @property
    def values(self) -> bool:
        """Whether labels are known to be values, of a regression."""
        return self.labels is not None and self.labels.dtype.kind == "f"

    @property
    def queries(self) -> int:
        """Queries per example."""
        return int(self.confidence[0].shape[1])

    @cached_property
    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Median and interquartile range of each model's confidences over all examples, each (models, queries)."""
        quartiles = np.stack(
            [np.quantile(np.asarray(one, np.float64), (0.25, 0.5, 0.75), 0) for one in self.confidence]
        )
        return quartiles[:, 1], quartiles[:, 2] - quartiles[:, 0]

    def block(self, rows: slice, temperature: float = 1.0) -> Floats:
        """Confidences of some examples, (models, examples, queries), from logits divided by a temperature.

        Those of temperature 1 are not writable, and the next ones are read along with them.

        Raises:
            ValueError: if the temperature is not 1 and there are no logits of classes.
        """
        if temperature == 1:
            found = self._piece.find(rows)
            return self._read(rows) if found is None else found
        if self.logits is None or self.labels is None or self.values:
            raise ValueError(f"temperature {temperature} needs logits and classes; use 1, or store the logits")
        return np.stack([logit_confidence(one[rows], self.labels[rows], temperature) for one in self.logits])

    def _read(self, rows: slice) -> Floats:
        """Some examples, and those behind them."""
        count = max(rows.stop - rows.start, _READ // (len(self.members) * self.queries))
        self._piece.values = np.zeros((0, 0, 0), np.float32)  # forget the last before the next
        parts = [np.asarray(one[rows.start : rows.start + count]) for one in self.confidence]
        for part in parts:
            prefetch(part)
        values = np.stack(parts)
        values.flags.writeable = False
        self._piece.start, self._piece.values = rows.start, values
        return values[:, : rows.stop - rows.start]

    def models(self, index: Sequence[int] | NDArray[np.integer[Any]]) -> Observed:
        """Some of the models."""
        logits = None if self.logits is None else [self.logits[i] for i in index]
        return Observed([self.confidence[i] for i in index], self.members[index], logits, self.labels, finite=True)


def _with_queries(confidence: Floats | Sequence[Floats]) -> Floats | Sequence[Floats]:
    """The same with an axis of one query where there is none."""
    if isinstance(confidence, np.ndarray):
        return confidence[..., None] if confidence.ndim == 2 else confidence
    return [one[:, None] if np.ndim(one) == 1 else one for one in confidence]


def _check_finite(model: int, confidence: Floats) -> None:
    bad = 0
    first = -1
    for start in range(0, len(confidence), 1 << 16):
        rows = np.flatnonzero(~np.isfinite(confidence[start : start + (1 << 16)]).all(axis=1))
        if len(rows) and first < 0:
            first = start + int(rows[0])
        bad += len(rows)
    if bad:
        raise ValueError(
            f"confidence must be finite; model {model} has NaN or infinity for {bad} of {len(confidence)} examples, "
            f"the first is example {first}; query the model again in float32, in evaluation mode"
        )
