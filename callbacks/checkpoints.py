"""Ordinary checkpoints at the end of a fit, one per model, and a resting point while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch


class WriteCheckpoints(L.Callback):
    """Write each model's checkpoint to ``<default_root_dir>/checkpoints/<variant>/<index>.ckpt``.

    A file appears whole or not at all. While a training runs, its whole state is kept beside them every
    ``rest_seconds``, and a fit that was killed goes on from there.

    Args:
        rest_seconds: least time between two resting points.
        rest: file of the resting point; the command line names it after models and recipe.
    """

    def __init__(self, rest_seconds: float = 60.0, rest: str | None = None) -> None:
        self.rest_seconds, self.rest = rest_seconds, rest
        self.rested = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the state, if the last time was long enough ago."""
        resting = self.rest and pl_module.automatic_optimization
        if not resting or time.monotonic() - self.rested < self.rest_seconds:
            return
        assert self.rest is not None
        self.rested = time.monotonic()
        trainer.save_checkpoint(f"{self.rest}.part")
        Path(f"{self.rest}.part").replace(self.rest)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what was made, and forget the resting point."""
        for checkpoint in pl_module.checkpoints():  # type: ignore[operator]  # Classifier, Fleet and Calibration have it
            write_checkpoint(Path(trainer.default_root_dir) / "checkpoints", checkpoint)
        if self.rest:
            Path(self.rest).unlink(missing_ok=True)


def write_checkpoint(folder: Path, checkpoint: dict[str, Any]) -> Path:
    """Write one checkpoint to ``folder/<variant>/<index>.ckpt``, whole or not at all."""
    made = checkpoint["lit_privq"]
    path: Path = folder / made["variant"] / f"{made['index']:03d}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        torch.save(checkpoint, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
