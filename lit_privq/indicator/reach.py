"""Warnings: conditions under which the ranking by the indicator must not be trusted."""

from __future__ import annotations

from collections.abc import Mapping

SMALL = "the bound 1 - exp(-n r) says little at this training-set size: n r is below 1"
SATURATED = (
    "nearly every snapshot has a codeword of its own: more snapshots would show closer competitors, and r would fall"
)
CENSORED = "most runs show a single codeword: their r is only known to be large"
INTERPOLATING = "the members are fitted (almost) perfectly: such models may leak in ways that r does not measure"
DRIFTING = (
    "full precision, which has no finite codebook, does not rank last: the snapshots drift instead of "
    "fluctuating; train longer, or take them closer together"
)


def cautions(n_times_r: float, saturation: float, train_score: float, censored: float = 0.0) -> tuple[str, ...]:
    """Say what speaks against reading a quantizer's indicator as its privacy; empty where nothing does.

    Args:
        n_times_r: training examples times the median r: the exponent of the bound.
        saturation: share of snapshots with a codeword of their own, C / T.
        train_score: accuracy on the members, or R squared of a regression, of full precision.
        censored: share of runs without any competitor.

    >>> cautions(n_times_r=8.0, saturation=0.2, train_score=0.9)
    ()
    >>> cautions(n_times_r=0.1, saturation=0.2, train_score=0.9) == (SMALL,)
    True
    """
    reasons = {
        SMALL: n_times_r < 1,
        SATURATED: saturation > 0.9,
        CENSORED: censored > 0.5,
        INTERPOLATING: train_score > 0.99,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def drifting(r: Mapping[str, float], full_precision: str) -> bool:
    """Whether snapshots move along with training instead of fluctuating around its end.

    Full precision has no finite codebook, so its competitors are as close as snapshots are, and its r belongs at the
    end of the ranking. Weights that still move in one direction lose (or gain) steadily on the reference set
    instead; their r is large, and rises with the precision.

    Args:
        r: median indicator by quantizer.
        full_precision: its name among them.

    >>> drifting({"sign": 4.0, "uniform-8": 2.0, "full": 1.0}, "full")
    False
    >>> drifting({"sign": 4.0, "uniform-8": 5.0, "full": 6.0}, "full")
    True
    """
    others = sorted(value for name, value in r.items() if name != full_precision)
    return r[full_precision] > others[len(others) // 2]
