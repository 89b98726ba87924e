"""The audit's metrics as a torchmetrics metric, for scores that come in batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_privq.audit.measure import statistics
from lit_privq.metrics.roc import roc


class MembershipScores(Metric):
    """The audit's metrics of scores that come in batches: areas under the ROC, balanced accuracy, a true-positive rate.

    Scores stay as they are: torchmetrics' own binary metrics pass values outside [0, 1] through a sigmoid, which
    rounds together the very log-ratios that decide the rate at 0.1 % false positives.

    Args:
        max_fpr: the bound, a fraction; the rate is that of the last point strictly below it.
    """

    full_state_update = False
    scores: list[Tensor]
    members: list[Tensor]

    def __init__(self, max_fpr: float = 0.001) -> None:
        super().__init__()
        self.max_fpr = max_fpr
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("members", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, members: Tensor) -> None:
        """Take a batch: scores (batch,), larger for more likely members, and membership (batch,), bool or 0 and 1."""
        self.scores.append(scores.detach().double())
        self.members.append(members.detach().bool())

    def compute(self) -> dict[str, Tensor]:
        """``auc``, ``balanced_accuracy``, ``log_auroc``, ``semilog_auroc`` and ``tpr_at_<max_fpr>``.

        The last is NaN where its bound allows no false positive; the balanced accuracy is that of the best threshold.
        """
        curve = roc(torch.cat(self.scores).cpu().numpy(), torch.cat(self.members).cpu().numpy())
        found = {name: float(function(curve)) for name, function in statistics([self.max_fpr]).items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}
