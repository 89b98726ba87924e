"""How much each example moves a number read off the ROC: its noise in closed form, and that of paired differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lit_privq.metrics.roc import Floats, Ranked, Roc, allowed_false_positives


@dataclass(frozen=True, eq=False)
class Influence:
    """Values whose mean over members plus mean over non-members moves as the number does, one for each example.

    By the delta method the variance of the number is that of these two means. For the area under the ROC these are the
    placements of DeLong et al.; for a true-positive rate whether the member is found, less the slope of the ROC times
    whether the non-member is accused, since accused non-members move the threshold.

    Args:
        inside: (members,).
        outside: (non-members,).

    Source: van der Vaart 1998, Asymptotic Statistics, chapter 20; DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44.
    """

    inside: Floats
    outside: Floats

    def __sub__(self, other: Influence) -> Influence:
        """Of the difference of two numbers on the same examples."""
        return Influence(self.inside - other.inside, self.outside - other.outside)

    @property
    def deviation(self) -> float:
        """Standard deviation over other examples; NaN for a single member or non-member, which shows no spread."""
        if min(self.inside.size, self.outside.size) < 2:
            return float("nan")
        return float(
            np.sqrt(sum(part.var(ddof=1, dtype=np.float64) / part.size for part in (self.inside, self.outside)))
        )


def auc_influence(seen: Ranked) -> Influence:
    """Of the area under the ROC."""
    fpr, tpr = ((rate[seen.step] + rate[seen.step - 1]) / 2 for rate in (seen.curve.fpr, seen.curve.tpr))
    return Influence(-fpr[seen.members].astype(np.float32), tpr[~seen.members].astype(np.float32))


def balanced_accuracy_influence(seen: Ranked) -> Influence:
    """Of the best balanced accuracy; where it is best, a small move of the threshold changes nothing."""
    called = seen.step <= int((seen.curve.tpr - seen.curve.fpr).argmax())
    return Influence(called[seen.members] * np.float32(0.5), called[~seen.members] * np.float32(-0.5))


def tpr_influence(seen: Ranked, max_fpr: float) -> Influence:
    """Of the true-positive rate at a false-positive rate below the bound."""
    allowed = allowed_false_positives(seen.curve.n_others, max_fpr)
    called = seen.step <= int((seen.curve.false_positives <= allowed).sum()) - 1
    slope = np.float32(-slope_at(seen.curve, allowed))
    return Influence(called[seen.members].astype(np.float32), called[~seen.members] * slope)


def slope_at(curve: Roc, allowed: int) -> float:
    """Slope of the ROC, dTPR / dFPR, around so many false positives.

    Over twice their square root, the distance by which the threshold wanders from one set of non-members to the next.
    """
    reach = max(1, round(np.sqrt(allowed)))
    low, high = max(0, allowed - reach), min(curve.n_others, allowed + reach)
    rise = curve.members_above(high) - curve.members_above(low)
    return float(rise / curve.n_members / ((high - low) / curve.n_others))
