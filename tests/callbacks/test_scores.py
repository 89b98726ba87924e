from __future__ import annotations

import numpy as np
import torch

from callbacks import MembershipScores
from lit_privq.metrics import auc, best_balanced_accuracy, log_auroc, roc, semilog_auroc, tpr_at_fpr


def test_batches_of_any_size_give_what_the_audit_gives_at_once() -> None:
    rng = np.random.default_rng(0)
    members = rng.random(3000) < 0.5
    scores = rng.normal(size=3000) * 100 + 150 * members  # log-ratios far outside [0, 1]
    curve = roc(scores, members)
    for size in (1, 7, 3000):
        metric = MembershipScores(max_fpr=0.01)
        for start in range(0, 3000, size):
            metric.update(
                torch.from_numpy(scores[start : start + size]), torch.from_numpy(members[start : start + size])
            )
        found = metric.compute()
        assert float(found["auc"]) == auc(curve)
        assert float(found["tpr_at_0.01"]) == tpr_at_fpr(curve, 0.01)
        assert float(found["balanced_accuracy"]) == best_balanced_accuracy(curve)
        assert float(found["log_auroc"]) == log_auroc(curve)
        assert float(found["semilog_auroc"]) == semilog_auroc(curve)


def test_a_bound_below_one_false_positive_is_not_a_number() -> None:
    metric = MembershipScores(max_fpr=0.001)
    metric.update(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, False, True, False]))
    assert metric.compute()["tpr_at_0.001"].isnan()
