"""Where the theory does not reach: reasons not to trust a ranking, in words."""

from __future__ import annotations


def cautions(n_times_r: float, saturation: float, train_score: float, censored: float = 0.0) -> tuple[str, ...]:
    """Say what speaks against reading an indicator as a ranking of privacy; empty where nothing does.

    Args:
        n_times_r: training examples times the median r: the exponent of the bound.
        saturation: share of snapshots with a codeword of their own, C / T.
        train_score: accuracy on the members, or R squared of a regression, of full precision.
        censored: share of runs without any competitor.

    >>> cautions(n_times_r=8.0, saturation=0.2, train_score=0.9)
    ()
    >>> cautions(n_times_r=0.1, saturation=0.2, train_score=0.9)
    ('n r = 0.1 is below 1: the bound 1 - exp(-n r) says little at this training-set size',)
    """
    reasons = {
        f"n r = {n_times_r:.2g} is below 1: the bound 1 - exp(-n r) says little at this training-set size": n_times_r
        < 1,
        f"{saturation:.0%} of the snapshots have a codeword of their own: more snapshots would show more competitors, "
        "and r would fall": saturation > 0.9,
        f"the members are fitted to {train_score:.1%}: an interpolating model leaks through what r does not see": (
            train_score > 0.99
        ),
        f"{censored:.0%} of the runs show a single codeword: their r is only known to be large": censored > 0.5,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)
