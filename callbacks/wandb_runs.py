"""Weights & Biases: one run per model and stage, grouped by study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from lit_privq.calibration import Calibration


class WandbRuns(L.Callback):
    """Log every model of a fleet as its own run: resolved config, metrics of each epoch, errors of each unit.

    Offline unless the user is logged in or WANDB_MODE says otherwise; files go to ``<default_root_dir>/wandb``.

    Args:
        project: the W&B project.
        group: of the runs; None takes the name of the output folder.
    """

    def __init__(self, project: str = "lit_privq", group: str | None = None) -> None:
        self.project, self.group = project, group
        self.config: dict[str, Any] = {}  # the command line fills it in
        self.runs: list[Any] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the runs."""
        stage = "quantize" if isinstance(pl_module, Calibration) else "train"
        self._open(trainer, f"{stage}-{pl_module.name}" if isinstance(pl_module, Calibration) else stage, stage)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch's metrics, each model's own."""
        history = pl_module.history
        for k, run in enumerate(self.runs):
            epoch = {name: float(values[k]) for name, values in history.items()}  # type: ignore[union-attr,operator]
            if epoch:
                run.log({"epoch": trainer.current_epoch, **epoch})

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the units of a calibration and close the runs."""
        if isinstance(pl_module, Calibration):
            for report in pl_module.reports:
                variant = pl_module.variants[report.precision]
                self.runs[report.model].log({f"{variant}/{report.unit}/relative_error": report.error})
        self._close()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One run per queried model, with its accuracy on the test set."""
        accuracies = pl_module.accuracies
        self._open(trainer, f"query-{pl_module.variant}", "query")
        for run, accuracy in zip(self.runs, accuracies, strict=True):  # type: ignore[arg-type]
            run.log({"accuracy": accuracy})
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close the runs as failed."""
        self._close(exit_code=1)

    def _open(self, trainer: L.Trainer, name: str, stage: str) -> None:
        """One run per model."""
        import wandb

        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        asked = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, x_save_requirements=False)
        assert trainer.state.fn in (TrainerFn.FITTING, TrainerFn.PREDICTING)
        self.runs = [
            wandb.init(
                project=self.project,
                group=self.group or folder.name,
                job_type=stage,
                name=f"{name}-{model:03d}",
                dir=folder,
                config={**self.config, "model_index": model},
                mode=cast(Literal["online", "offline", "disabled", "shared"], asked),
                reinit="create_new",
                settings=settings,
            )
            for model in trainer.datamodule.models  # type: ignore[attr-defined]
        ]

    def _close(self, exit_code: int = 0) -> None:
        """Finish all runs."""
        for run in self.runs:
            run.finish(exit_code=exit_code)
        self.runs = []
