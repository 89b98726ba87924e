"""The attack that needs no shadow models, as part of a predict."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import torch

from callbacks.scores import MembershipScores
from lit_privq.query import Query


class ThresholdAttack(L.Callback):
    """Attack every queried model by its confidence alone, and print the metrics on stderr.

    The weakest attack of an audit, and the only one that needs no other model. Examples count with their first query.

    Args:
        metric: what is computed of the confidences, one copy for each model.
    """

    def __init__(self, metric: MembershipScores) -> None:
        self.metric = metric
        self.found: dict[int, dict[str, float]] = {}  # by model index

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a metric for each model."""
        if not isinstance(pl_module, Query):
            raise ValueError(
                f"ThresholdAttack reads what lit_privq.query.Query answers; got {type(pl_module).__name__}, "
                "set model.class_path in the query's config"
            )
        self.seen, self.metrics = 0, {model: self.metric.clone() for model in pl_module.data.models}

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take a batch of the pool, whose examples come in order, query after query."""
        assert isinstance(pl_module, Query)
        members = pl_module.data.members
        rows = slice(self.seen, self.seen + outputs["confidence"].shape[1])
        if dataloader_idx or rows.start >= members.shape[1]:
            return
        for (model, metric), confidence in zip(self.metrics.items(), outputs["confidence"], strict=True):
            inside = torch.from_numpy(members[model][rows])
            metric.update(confidence[: len(inside)].cpu(), inside)
        self.seen = rows.stop

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what was found."""
        for model, metric in self.metrics.items():
            self.found[model] = {name: value.item() for name, value in metric.compute().items()}
            said = ", ".join(f"{name} {value:.3g}" for name, value in self.found[model].items())
            print(f"model {model}, attacked by its confidence alone: {said}", file=sys.stderr)
