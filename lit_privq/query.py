"""LightningModule that queries finished models on every example: checkpoints in, confidences out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_privq.artifacts.checkpoint import checkpoint_path, network_of, read_checkpoint
from lit_privq.data.datamodule import ShadowDataModule, ShadowModule
from lit_privq.fleet.stack import Stack
from lit_privq.fleet.ways import Stacking, join


def check_same_study(checkpoint: Mapping[str, Any], path: Path, data: ShadowDataModule, model: int) -> None:
    """Refuse a checkpoint of another model, data set or split than the data module's.

    Raises:
        ValueError: naming what differs.
    """
    made = checkpoint["lit_privq"]
    for what, here, there in (
        ("model", model, made["index"]),
        ("data set", data.pool.name, made["dataset"]),
        ("data (fingerprint)", data.fingerprint, made["fingerprint"]),
    ):
        if here != there:
            raise ValueError(
                f"{path} holds {what} {there}, not {here}; name the checkpoint and the data that belong together"
            )
    if not np.array_equal(made["members"].numpy(), data.members[model]):
        raise ValueError(
            f"{path} was trained on other members than split_seed {data.split_seed} gives model {model} of "
            f"{data.n_shadows} shadows and {data.n_targets} targets; use the checkpoint's own split"
        )


class Query(ShadowModule):
    """Confidences of one model or a fleet of them on the pool and the test set.

    Args:
        checkpoint: path of a checkpoint; for a fleet with ``{index}`` or ``{index:03d}`` in the index's place.
        stacking: as in `Fleet`.
        logits: keep what the networks answer, logits or values, beside the confidences.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks checkpoints may name;
            the command line sets it from ``--trust``.
    """

    def __init__(
        self, checkpoint: str, stacking: Stacking = "auto", logits: bool = False, trust: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.checkpoint, self.stacking, self.keep_logits, self.trust = checkpoint, stacking, logits, trust
        self.stack: Stack | None = None
        self.read: Sequence[dict[str, Any]] = ()
        self.test_utility: list[Tensor] = []

    def configure_model(self) -> None:
        """Read the checkpoints, check that they belong to the data, and stack their networks."""
        if self.stack is not None:
            return
        nets = []
        read = []
        for model in self.data.models:
            path = checkpoint_path(self.checkpoint, model)
            checkpoint = read_checkpoint(path)
            check_same_study(checkpoint, path, self.data, model)
            nets.append(network_of(checkpoint, path, self.trust))
            read.append({key: value for key, value in checkpoint.items() if key != "state_dict"})
        self.read = read
        self.stack = join(nets, self.stacking, self.data.pool.inputs.shape[1:]).eval()

    @property
    def variant(self) -> str:
        """What all these checkpoints are: ``none-32``, ``adaround-2``, ..."""
        variant: str = self.read[0]["lit_privq"]["variant"]
        return variant

    @property
    def utility(self) -> Tensor:
        """Accuracy, or R squared, of each model on the test set, unshifted; (models,)."""
        return torch.cat(self.test_utility, dim=1)[:, : len(self.data.pool.test_labels)].float().mean(dim=1)

    def predict_step(self, batch: tuple[Tensor, Tensor], _: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Confidence (models, batch), whether (or of values, how) each answer is right, and the logits if asked for."""
        assert self.stack is not None
        assert not self.training, "models are queried in evaluation mode"
        images, labels = batch
        answers = self.stack(images.expand(self.stack.size, *images.shape))  # (models, batch, outputs)
        confidence, correct = self.task.confidence(answers, labels), self.task.utility(answers, labels)
        scored = {"confidence": confidence.float(), "correct": correct}
        if dataloader_idx == 1:
            self.test_utility.append(correct.cpu())
        if self.keep_logits:
            scored["logits"] = answers.float()
        return scored
