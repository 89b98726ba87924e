"""ROC curves, averaged over targets: one figure for each precision, beside full precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.scores import AttackScores
from lit_privq.artifacts.variant import Variant
from lit_privq.report import figures
from lit_privq.report.figures import Curve, Drawing
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no scores were kept."""
    drawings = tuple(
        _drawings(view, {v: mean_curve(one) for v, one in inputs.scores.items() if v not in view.guessing})
    )
    return Section("curves", "ROC curves", {}, drawings) if drawings else None


def _drawings(view: View, curves: Mapping[Variant, Curve]) -> Iterator[Drawing]:
    """A figure for each precision; full precision has one of its own where nothing is quantized, or by recipes."""
    plain = {variant: curve for variant, curve in curves.items() if variant == variant.baseline or len(curves) == 1}
    for bits in dict.fromkeys(variant.bits for variant in curves if variant not in plain or len(curves) == 1):
        shown = plain | {variant: curve for variant, curve in curves.items() if variant.bits == bits}
        alt = f"ROC curves at {bits:g} bits beside full precision, both axes in log scale."
        yield Drawing(f"roc_{bits:g}", figures.roc(view, bits, shown), alt)


def mean_curve(scores: AttackScores, points: int = 120) -> Curve:
    """Average the targets' curves.

    >>> certain = AttackScores(np.array([0]), np.array([[True, False, True, False]]), np.array([[3.0, 0.0, 2.0, 1.0]]))
    >>> mean_curve(certain).mean.min()
    np.float64(1.0)
    """
    fewest = int((~scores.members).sum(axis=1).min())
    fpr = np.geomspace(1 / fewest, 1.0, points)
    curves = np.stack(
        [_curve(row[inside], row[~inside], fpr) for row, inside in zip(scores.scores, scores.members, strict=True)]
    )  # (targets, points)
    spread = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(fpr)
    return Curve(fpr, curves.mean(axis=0), spread)


def _curve(members: NDArray[np.float64], others: NDArray[np.float64], fpr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of members above the score that as many non-members exceed as each rate allows, (points,)."""
    allowed = np.floor(fpr * others.size + 1e-9).astype(np.int64)
    falling = np.append(np.sort(others)[::-1], -np.inf)
    below = np.searchsorted(np.sort(members), falling[allowed], side="right")
    return np.asarray(1 - below / members.size, dtype=np.float64)
