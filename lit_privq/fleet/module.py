"""LightningModule that trains many shadow models at once; one ordinary checkpoint each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_privq.classifier import ShadowTraining
from lit_privq.data.batches import FleetBatch
from lit_privq.fleet.stack import Stack
from lit_privq.fleet.ways import Stacking, join


class Fleet(ShadowTraining):
    """F models of one architecture, each with its own members, order, augmentation and initial weights.

    Takes the configuration of a `Classifier`: the command line puts a fleet in its place where ``model_index`` is a
    range.
    Model i of a fleet equals model i trained alone, up to the order of floating-point sums: losses are
    summed over models, so that every model's gradient is its own, and the optimizer works elementwise.

    Args:
        net: the network, as of a `Classifier`.
        stacking: how networks become one: ``grouped`` (grouped convolutions, batched matrix products), ``vmap``
            (any network torch.func can map), ``alone`` (one after the other), or ``auto``: the first that supports it.
        recipe: the arguments of `ShadowTraining`.
    """

    def __init__(self, net: nn.Module, stacking: Stacking = "auto", **recipe: Any) -> None:  # noqa: ANN401  # of `ShadowTraining`
        super().__init__(net, **recipe)
        self.stacking = stacking
        self.stack: Stack | None = None

    def setup(self, stage: str) -> None:
        """Initialise each network as it is alone (in ``configure_model`` that would be on the GPU), and stack them."""
        super().setup(stage)
        if self.dp_sgd and self.stacking == "vmap":
            raise ValueError("DP-SGD takes each layer's gradients, which torch.func hides; set stacking auto, got vmap")
        if self.trainer.gradient_clip_val:
            raise ValueError(
                "gradient_clip_val clips the norm over all models of a fleet; train them alone (fleet: 1 in a study), "
                "or leave it out"
            )
        nets = [self.in_format(self.fresh_network(model)) for model in self.data.models]
        self.stack = join(nets, self.stacking, self.data.pool.inputs.shape[1:], self.ways)
        if self.compile_network:
            self.stack.compile()

    @property
    def parts(self) -> Sequence[nn.Module]:
        """The stack's."""
        assert self.stack is not None
        return self.stack.parts

    def forward(self, images: Tensor, models: tuple[int, ...] | None = None) -> Tensor:
        """(models, batch, channels, height, width) -> logits (models, batch, classes), or values (models, batch, 1)."""
        assert self.stack is not None
        answers: Tensor = self.stack(images, models)
        return answers

    def on_train_epoch_start(self) -> None:
        """Set the epoch's sums to zero."""
        super().on_train_epoch_start()
        self.loss_sum = torch.zeros(len(self.data.models), device=self.device)

    def training_step(self, batches: list[FleetBatch], _: int) -> Tensor:
        """Sum of the models' losses; one batch, except where some models have an example fewer than others."""
        total = torch.zeros((), device=self.device)
        for batch in batches:
            models = None if len(batches) == 1 else batch.models
            with self.watched() as self.calls:
                answers = self(batch.inputs, models)
            losses = self.losses(answers, batch.labels, batch.present)  # (models,)
            self.loss_sum[list(batch.models)] += losses.detach()
            total = total + self.objective(losses, batch.present)
        return total

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401  # outputs, batch and its index
        """Note the epoch's mean losses with its last batch, per model."""
        if self.trainer.is_last_batch:
            self.end_epoch(self.loss_sum / self.trainer.num_training_batches)

    def on_validation_epoch_start(self) -> None:
        """Set the sums of the test set to zero."""
        self.utility_sum, self.seen = torch.zeros(len(self.data.models), device=self.device), 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy, or R squared, on the test set: every model sees the same images."""
        images, labels = batch
        answers = self(images.expand(len(self.data.models), *images.shape))
        self.utility_sum += self.task.utility(answers, labels).sum(dim=1)
        self.seen += len(labels)

    def on_validation_epoch_end(self) -> None:
        """Note and log it, per model and their mean."""
        metric = self.task.metric
        self.history[metric] = self.utility_sum / self.seen
        self.log(metric, self.history[metric].mean(), prog_bar=True)

    test_step, on_test_epoch_start, on_test_epoch_end = (
        validation_step,
        on_validation_epoch_start,
        on_validation_epoch_end,
    )

    def checkpoints(self) -> list[dict[str, Any]]:
        """One ordinary `Classifier` checkpoint per model."""
        assert self.stack is not None
        utility = self.history.get(self.task.metric, torch.full((len(self.data.models),), float("nan"))).tolist()
        return [
            self.ordinary_checkpoint(self.stack.state_dict_of(k), model, utility[k])
            for k, model in enumerate(self.data.models)
        ]
