from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import lightning as L
import numpy as np
import pytest
import torch

from callbacks import MembershipScores, ThresholdAttack
from lit_privq.artifacts.confidences import read_dump
from lit_privq.metrics import auc, roc
from lit_privq.query import Query


def test_every_model_is_attacked_by_its_confidence_in_batches_of_any_size(study: Path) -> None:
    dumps = [read_dump(study / f"confidence/none-32/{index:03d}.npz") for index in range(2)]
    members = np.stack([dump.members for dump in dumps])
    answers = torch.from_numpy(np.stack([dump.confidence.T.ravel() for dump in dumps]))  # (models, queries x examples)
    for size in (1, 7, 61, 1000):
        attack = ThresholdAttack(MembershipScores(max_fpr=0.1))
        module = cast("L.LightningModule", Answering(members))
        trainer = cast("L.Trainer", SimpleNamespace())
        attack.on_predict_start(trainer, module)
        for start in range(0, answers.shape[1], size):
            attack.on_predict_batch_end(trainer, module, {"confidence": answers[:, start : start + size]}, None, 0)
        attack.on_predict_batch_end(trainer, module, {"confidence": answers[:, :5]}, None, 0, dataloader_idx=1)
        attack.on_predict_end(trainer, module)
        for index, dump in enumerate(dumps):
            assert attack.found[index]["auc"] == auc(roc(dump.confidence[:, 0].astype(np.float64), dump.members))


class Answering(Query):
    """A query of models whose members are known."""

    def __init__(self, members: np.ndarray) -> None:
        super().__init__("X.ckpt")
        self._known = SimpleNamespace(members=members, models=tuple(range(len(members))))

    @property
    def data(self) -> SimpleNamespace:  # type: ignore[override]
        return self._known


def test_a_predict_says_what_the_attack_finds(
    privq: Callable[..., None], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq(
        "predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(study / "checkpoints/none-32/005.ckpt"),
        "--trainer.callbacks+", "callbacks.ThresholdAttack",
        "--trainer.callbacks.metric", "callbacks.MembershipScores", "--trainer.callbacks.metric.max_fpr", "0.1",
    )  # fmt: skip
    dump = read_dump(tmp_path / "confidence/none-32/005.npz")
    area = auc(roc(dump.confidence[:, 0].astype(np.float64), dump.members))
    assert f"model 5, attacked by its confidence alone: auc {area:.3g}" in capsys.readouterr().err
