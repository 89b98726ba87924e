"""Ordinary checkpoints at the end of a fit and at early stops, one per model, and a resume checkpoint while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from callbacks.closing import Quality, closing_lines, quality
from lit_privq.artifacts.checkpoint import not_finite, write_checkpoint
from lit_privq.artifacts.diverged import Diverged
from lit_privq.artifacts.variant import Variant
from lit_privq.data.datamodule import is_trial


class WriteCheckpoints(L.Callback):
    """Write each model's checkpoint to ``<default_root_dir>/checkpoints/<variant>/<index>.ckpt``.

    A file appears whole or not at all, and the same content gives the same bytes. While a training runs, its whole
    state is kept beside them every ``resume_seconds``, and a fit that was killed goes on from there. A trial run
    (``fast_dev_run``) writes nothing.

    A module's ``early`` names recipes that are the same training stopped early: after so many epochs, which are
    validated whatever ``check_val_every_n_epoch`` says, checkpoints are written as that recipe's, byte for byte those
    of a training with ``max_epochs`` so many.

    Args:
        resume_seconds: least time between two resume checkpoints.
        resume: file of the resume checkpoint; the command line names it after models and recipe.
    """

    def __init__(self, resume_seconds: float = 60.0, resume: str | None = None) -> None:
        self.resume_seconds, self.resume = resume_seconds, resume
        self.written = time.monotonic()
        self.files: list[tuple[Path, Quality]] = []  # and how good the models in them are

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse early stops that would never come.

        Raises:
            ValueError: if one does not lie within the training.
        """
        self.files = []
        last = trainer.max_epochs
        for name, epochs in _early(pl_module).items():
            if epochs < 1 or (last is not None and 0 <= last <= epochs):
                raise ValueError(
                    f"early stops lie after the first epoch at least and before the last of {last}; got {epochs} for "
                    f"{name}, correct model.early"
                )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have an epoch validated that is an early stop."""
        self.validated_every = trainer.check_val_every_n_epoch
        if trainer.current_epoch + 1 in _early(pl_module).values():
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoints of an early stop, then the resume checkpoint, if the last one is old enough."""
        for name, epochs in _early(pl_module).items():
            if trainer.current_epoch + 1 == epochs and not is_trial(trainer):
                self._write_stopped(trainer, pl_module, name, epochs)
                trainer.check_val_every_n_epoch = self.validated_every
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
            Diverged: if models did; those of the others are written, and theirs are kept under another name.
        """
        if is_trial(trainer):
            rank_zero_info("fast_dev_run is a trial: no checkpoint is written")
            return
        diverged = dict[int, str]()
        for checkpoint in pl_module.checkpoints():  # type: ignore[operator]  # Classifier, Fleet and Calibration have it
            if (tensor := not_finite(checkpoint)) is None:
                self._write(trainer, checkpoint)
            else:
                write_checkpoint(Path(trainer.default_root_dir) / "checkpoints", checkpoint, sound=False)
                made = checkpoint["lit_privq"]
                said = _diverged(pl_module, made, tensor)
                diverged[made["index"]] = f"{diverged[made['index']]}; {said}" if made["index"] in diverged else said
        if self.resume:
            Path(self.resume).unlink(missing_ok=True)
        print(*closing_lines(self.files), sep="\n", end="\n" if self.files else "")
        if diverged:
            raise Diverged(
                "no checkpoint may hold NaN or infinity, so none is written for "
                f"{'; '.join(diverged.values())}: change the recipe, such as a lower learning rate; what "
                "there was is kept beside it, as .diverged",
                list(diverged),
            )

    def _write_stopped(self, trainer: L.Trainer, module: L.LightningModule, name: str, epochs: int) -> None:
        """Write the models as they are, those that have not diverged; of the others the end of the training tells."""
        for checkpoint in module.checkpoints():  # type: ignore[operator]  # Classifier and Fleet have it
            if not_finite(checkpoint) is None:
                made = {**checkpoint["lit_privq"], "variant": Variant("none", 32, 32, recipe=name).name}
                self._write(trainer, {**checkpoint, "lit_privq": made, "epoch": epochs})

    def _write(self, trainer: L.Trainer, checkpoint: dict[str, Any]) -> None:
        path = write_checkpoint(Path(trainer.default_root_dir) / "checkpoints", checkpoint)
        self.files.append((path, quality(checkpoint["lit_privq"])))


def _early(module: L.LightningModule) -> dict[str, int]:
    """Early stops of a training, name: epochs; a quantization has none."""
    return getattr(module, "early", {})


def _diverged(module: Any, made: dict[str, Any], tensor: str) -> str:  # noqa: ANN401  # Classifier, Fleet or Calibration
    """Which model it is, and since when its loss is no number."""
    model = f"model {made['index']} ({made['variant']}, {tensor}"
    if "loss" not in module.history:
        return f"{model})"
    loss = float(module.history["loss"][module.data.models.index(made["index"])])
    first = module.diverged.get(made["index"], module.current_epoch - 1)
    return f"{model}: diverged in epoch {first + 1}, loss {loss:g})"
