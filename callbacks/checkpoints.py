"""Ordinary checkpoints at the end of a fit, one per model, and a resume checkpoint while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from callbacks.closing import closing_lines, quality
from lit_privq.artifacts.checkpoint import not_finite, write_checkpoint
from lit_privq.data.datamodule import is_trial


class WriteCheckpoints(L.Callback):
    """Write each model's checkpoint to ``<default_root_dir>/checkpoints/<variant>/<index>.ckpt``.

    A file appears whole or not at all, and the same content gives the same bytes. While a training runs, its whole
    state is kept beside them every ``resume_seconds``, and a fit that was killed goes on from there. A trial run
    (``fast_dev_run``) writes nothing.

    Args:
        resume_seconds: least time between two resume checkpoints.
        resume: file of the resume checkpoint; the command line names it after models and recipe.
    """

    def __init__(self, resume_seconds: float = 60.0, resume: str | None = None) -> None:
        self.resume_seconds, self.resume = resume_seconds, resume
        self.written = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the resume checkpoint, if the last one is old enough."""
        if not self.resume or is_trial(trainer) or not pl_module.automatic_optimization:
            return
        if time.monotonic() - self.written < self.resume_seconds:
            return
        self.written = time.monotonic()
        trainer.save_checkpoint(f"{self.resume}.part")
        Path(f"{self.resume}.part").replace(self.resume)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the final checkpoints, delete the resume checkpoint, and print what was written and how good it is.

        Raises:
            ValueError: if models diverged; those of the others are written.
        """
        if is_trial(trainer):
            rank_zero_info("fast_dev_run is a trial: no checkpoint is written")
            return
        written, diverged = [], []
        for checkpoint in pl_module.checkpoints():  # type: ignore[operator]  # Classifier, Fleet and Calibration have it
            if (tensor := not_finite(checkpoint)) is None:
                path = write_checkpoint(Path(trainer.default_root_dir) / "checkpoints", checkpoint)
                written.append((path, quality(checkpoint["lit_privq"])))
            else:
                diverged.append(_diverged(pl_module, checkpoint["lit_privq"], tensor))
        if self.resume:
            Path(self.resume).unlink(missing_ok=True)
        print(*closing_lines(written), sep="\n", end="\n" if written else "")
        if diverged:
            raise ValueError(
                f"no checkpoint may hold NaN or infinity, so none is written for {'; '.join(diverged)}: change the "
                "recipe, such as a lower learning rate"
            )


def _diverged(module: Any, made: dict[str, Any], tensor: str) -> str:  # noqa: ANN401  # Classifier, Fleet or Calibration
    """Which model it is, and since when its loss is no number."""
    model = f"model {made['index']} ({made['variant']}, {tensor}"
    if "loss" not in module.history:
        return f"{model})"
    loss = float(module.history["loss"][module.data.models.index(made["index"])])
    first = module.diverged.get(made["index"], module.current_epoch - 1)
    return f"{model}: diverged in epoch {first + 1}, loss {loss:g})"
