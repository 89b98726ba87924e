"""Scores of an attack, gathered batch by batch: what the audit computes at once, as torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_privq.metrics.roc import auc, roc, tpr_at_fpr


class MembershipScores(Metric):
    """Area under the ROC and true-positive rate at a false-positive rate, of scores that arrive in batches.

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
        """Take a batch: scores (batch,), larger for likelier members, and whether each is one, (batch,) bool."""
        self.scores.append(scores.detach().double())
        self.members.append(members.detach().bool())

    def compute(self) -> dict[str, Tensor]:
        """``auc`` and ``tpr_at_<max_fpr>``; NaN where the bound means fewer than one false positive."""
        curve = roc(torch.cat(self.scores).cpu().numpy(), torch.cat(self.members).cpu().numpy())
        rates = {"auc": auc(curve), f"tpr_at_{self.max_fpr:g}": tpr_at_fpr(curve, self.max_fpr)}
        return {name: torch.tensor(float(rate), dtype=torch.float64) for name, rate in rates.items()}
