"""Weights & Biases: one run per model and stage, grouped by study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import wandb

from lit_privq.calibration import Calibration
from lit_privq.query import Query
from lit_privq.tracking import PROJECT, open_run


class WandbRuns(L.Callback):
    """Log every model of a fleet as its own run: resolved config, metrics of each epoch, errors of each unit.

    Offline unless the user is logged in or WANDB_MODE says otherwise; files go to ``<default_root_dir>/wandb``.

    Args:
        project: the W&B project.
        group: of the runs; None takes the name of the output folder.
    """

    def __init__(self, project: str = PROJECT, group: str | None = None) -> None:
        self.project, self.group = project, group
        self.config: dict[str, Any] = {}  # the command line fills it in
        self.runs: list[Any] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the runs."""
        stage = "quantize" if isinstance(pl_module, Calibration) else "train"
        name = f"{stage}-{pl_module.name}" if isinstance(pl_module, Calibration) else stage
        recipe = getattr(pl_module, "recipe", "")
        self._open(trainer, f"{name}@{recipe}" if recipe else name, stage)

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
            for k, run in enumerate(self.runs):
                units = [asdict(report) for report in pl_module.reports if report.model == k]
                rows: list[Iterable[Any]] = [[pl_module.variants[unit["precision"]], *unit.values()] for unit in units]
                run.log({"units": wandb.Table(columns=["variant", *(units[0] if units else ())], data=rows)})
        self._close()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One run per queried model, with its accuracy, or R squared, on the test set."""
        assert isinstance(pl_module, Query)
        self._open(trainer, f"query-{pl_module.variant}", "query")
        for run, utility in zip(self.runs, pl_module.utility, strict=True):
            run.log({pl_module.task.metric: utility})
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close the runs as failed."""
        self._close(exit_code=1)

    def _open(self, trainer: L.Trainer, name: str, stage: str) -> None:
        """One run per model."""
        folder = Path(trainer.default_root_dir)
        self.runs = [
            open_run(
                folder, f"{name}-{model:03d}", stage, self.config | {"model_index": model}, self.project, self.group
            )
            for model in trainer.datamodule.models  # type: ignore[attr-defined]
        ]

    def _close(self, exit_code: int = 0) -> None:
        """Finish all runs."""
        for run in self.runs:
            run.finish(exit_code=exit_code)
        self.runs = []
