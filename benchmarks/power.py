"""How often an audit with few targets tells a leak apart from random guessing.

Simulated studies of 14 shadows and 400 examples whose confidence rises by one standard deviation on members (a leak of
about 6 % TPR at 1 % FPR), attacked by LiRA with a fixed variance; and studies without a leak, where it should be told
seldom: one interval in 40 lies above the truth.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rows import Row, options, show

from lit_privq.artifacts.measures import TargetMean
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed, score_held_out, standard
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Measure, measure
from lit_privq.audit.summary import over_targets

ATTACK = "lira_online_fixed"
SHADOWS, EXAMPLES, MAX_FPR = 14, 400, 0.01


def main() -> None:
    given = options(__doc__)
    show(list(rows(10 if given.quick else 40)), given.json)


def rows(studies: int) -> Iterator[Row]:
    """Of so many studies, the share in which a leak is told for other targets, and that in which one is told at all."""
    for gap, what in ((1.0, "clear leak"), (0.0, "no leak")):
        for targets in (2, 3, 4, 10):
            found = [study(targets, gap, seed) for seed in range(studies)]
            told = sum(rate.verdict == "higher" for rate, _ in found) / studies
            area = sum(area.verdict == "higher" for _, area in found) / studies
            these = sum("higher" in (rate.verdict, area.verdict, rate.these) for rate, area in found) / studies
            note = f"by the AUC {100 * area:.0f} %; by either, or for these targets together {100 * these:.0f} %"
            yield Row(f"{what}, {targets} targets", 100 * told, None, "% told by TPR at 1 % FPR", note=note)


def study(targets: int, gap: float, seed: int) -> tuple[TargetMean, TargetMean]:
    """What an audit concludes of a simulated study: TPR at 1 % FPR, and AUC."""
    random = np.random.default_rng(seed)
    shadows = np.argsort(random.random((SHADOWS, EXAMPLES)), axis=0) < SHADOWS // 2
    members = np.vstack([shadows, random.random((targets, EXAMPLES)) < 0.5])
    confidence = random.normal(2, 2, EXAMPLES) + gap * members + random.normal(0, 1, members.shape)
    models = Observed(confidence[..., None].astype(np.float32), members)
    made, attacked = models.models(range(SHADOWS)), models.models(range(SHADOWS, SHADOWS + targets))
    scores = score_held_out({ATTACK: standard()[ATTACK]}, made, attacked)
    case = Case("", "", FULL_PRECISION, "unaware", np.arange(targets), made, attacked, None, ())
    found = measure(case, scores, [MAX_FPR], 200, seed)[ATTACK]
    rate = f"tpr_at_{MAX_FPR:g}"
    return over_targets(rate, found[Measure(rate)], MAX_FPR), over_targets("auc", found[Measure("auc")], 0.5)


if __name__ == "__main__":
    main()
