"""Weights & Biases: records of every model beside a study's files, and live runs of a command that is run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L

from callbacks.quantized_utility import QuantizedUtility
from lit_privq.artifacts.construction import network_name
from lit_privq.artifacts.variant import Variant
from lit_privq.calibration import Calibration
from lit_privq.classifier import ShadowTraining
from lit_privq.data.datamodule import is_trial
from lit_privq.qat import QuantizationAwareTraining
from lit_privq.quantizing import Quantizing
from lit_privq.query import Query
from lit_privq.tracking.live import LiveRuns
from lit_privq.tracking.records import (
    QUANTIZE,
    QUERY,
    TRAIN,
    StageRecord,
    add_row,
    add_summary,
    finite,
    read_stage,
    record_path,
    start_record,
)
from lit_privq.tracking.runs import mode


class WandbRuns(L.Callback):
    """Record every model of a fleet: resolved config, metrics of each epoch, errors of each unit, accuracy.

    The records lie in ``<default_root_dir>/wandb/records``; in the folder of a study, its end or ``publish`` makes W&B
    runs of them. A command that is run alone also logs to W&B as it goes, one run for each model and variant, if there
    is an account or WANDB_MODE asks for it; with WANDB_RUN_ID, as agents set it, one run with the means over models.
    WANDB_MODE=disabled writes nothing. A failure of W&B is a warning.

    Args:
        project: the W&B project; None takes WANDB_PROJECT, then ``lit_privq``.
        group: of the runs; None takes the name of the study, or of the output folder.
    """

    def __init__(self, project: str | None = None, group: str | None = None) -> None:
        self.project, self.group = project, group
        self.config: dict[str, Any] = {}  # the command line fills it in
        self.records: dict[tuple[str, int], Path] = {}  # variant and model
        self.live = LiveRuns(project)
        self.seen = 0  # units of a calibration

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the records; a training that goes on keeps the epochs it had."""
        if isinstance(pl_module, Quantizing):
            self.seen = 0
            self._start(trainer, QUANTIZE, pl_module.variants, about_of(pl_module.parents[0]["lit_privq"]))
        elif isinstance(pl_module, ShadowTraining):
            names = [trained(name) for name in (pl_module.recipe, *pl_module.early)]
            net = network_name(pl_module.spec)
            self._start(trainer, TRAIN, names, {"dataset": pl_module.data.pool.name, "net": net})

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's metrics, each model's own, or the units that were solved."""
        if not self.records:
            return
        if isinstance(pl_module, Calibration):
            self._add_units(pl_module)
        elif isinstance(pl_module, ShadowTraining):
            self._add_epoch(trainer.current_epoch, pl_module)
        elif isinstance(pl_module, QuantizationAwareTraining):
            for (variant, model), path in self.records.items():
                loss = float(pl_module.history["loss"][pl_module.data.models.index(model)])
                self._add(variant, model, path, {"epoch": trainer.current_epoch, "train/loss": loss})

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sum up and close the runs."""
        tested = next(
            (callback.utility for callback in watching(trainer) if isinstance(callback, QuantizedUtility)), {}
        )
        for (variant, model), path in self.records.items():
            history = read_stage(path).history
            last = {name: value for name, value in (history[-1] if history else {}).items() if "/" in name}
            if isinstance(pl_module, Calibration):
                errors = [row["unit/relative_error"] for row in history]
                last = {"unit/relative_error": sum(errors) / len(errors)} if errors else {}
            self._sum_up(variant, model, last | tested.get((variant, model), {}))
        self._close()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record each queried model's accuracy, or R squared, on the test set, and its size."""
        assert isinstance(pl_module, Query)
        if not pl_module.test_utility:
            return
        made = [read["lit_privq"] for read in pl_module.read]
        self._start(trainer, QUERY, [pl_module.variant], about_of(made[0]))
        for one, utility in zip(made, pl_module.utility.tolist(), strict=True):
            summary = {f"test/{pl_module.task.metric}": utility, "size/bytes": one.get("size_bytes")}
            self._sum_up(pl_module.variant, one["index"], {key: value for key, value in summary.items() if value})
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close the runs as failed."""
        self._close(exit_code=1)

    def _start(self, trainer: L.Trainer, stage: str, variants: list[str], about: Mapping[str, Any]) -> None:
        """Start a record of each model at each variant, and its run."""
        self.records = {}
        if is_trial(trainer) or mode() == "disabled":
            return
        root, data = Path(trainer.default_root_dir), trainer.datamodule  # type: ignore[attr-defined]
        about = {**about, "n_shadows": data.n_shadows, "n_targets": data.n_targets}
        self.records = {(name, k): record_path(root, name, k, stage) for name in variants for k in data.models}
        for path in self.records.values():
            kept = [row for row in read_stage(path).history if row.get("epoch", 0) < trainer.current_epoch]
            start_record(path, StageRecord(about, self.config, tuple(kept)))
        main = variants[:1] if stage == TRAIN else variants  # early stops are the same training
        self.live.open(root, self.group, [who for who in self.records if who[0] in main])

    def _add_epoch(self, epoch: int, module: ShadowTraining) -> None:
        """Add an epoch of a training to its own record, and to those of the recipes that are the same so far."""
        ends = {trained(name): epochs for name, epochs in module.early.items()}
        for k, model in enumerate(module.data.models):
            values = {_long(name, module.task.metric): float(value[k]) for name, value in module.history.items()}
            for (variant, index), path in self.records.items():
                if index == model and values and epoch < ends.get(variant, epoch + 1):
                    self._add(variant, model, path, {"epoch": epoch, **values})

    def _add_units(self, module: Calibration) -> None:
        for report in module.reports[self.seen :]:
            variant, model = module.variants[report.precision], module.data.models[report.model]
            row = {
                "unit/name": report.unit,
                "unit/relative_error": report.error,
                "unit/distinct": report.distinct,
                "unit/clipped": report.clipped,
                "unit/flipped": report.flipped,
                "unit/seconds": report.seconds,
            }
            self._add(variant, model, self.records[variant, model], row)
        self.seen = len(module.reports)

    def _add(self, variant: str, model: int, path: Path, row: Mapping[str, Any]) -> None:
        add_row(path, finite(row))
        self.live.log((variant, model), finite(row))

    def _sum_up(self, variant: str, model: int, summary: Mapping[str, Any]) -> None:
        if (variant, model) in self.records:
            add_summary(self.records[variant, model], finite(summary))
            self.live.sum_up((variant, model), finite(summary))

    def _close(self, exit_code: int = 0) -> None:
        self.live.close(exit_code)
        self.records = {}


def about_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its model."""
    return {key: made.get(key, "") for key in ("dataset", "net")}


def watching(trainer: L.Trainer) -> Sequence[L.Callback]:
    """The callbacks of a trainer, which it has without declaring them."""
    callbacks: Sequence[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def trained(recipe: str) -> str:
    """Name of a recipe's full-precision variant."""
    return Variant("none", 32, 32, recipe=recipe).name


def _long(name: str, metric: str) -> str:
    """Name of a training's metric in W&B: alike everywhere.

    >>> _long("accuracy", "accuracy"), _long("loss", "accuracy")
    ('test/accuracy', 'train/loss')
    """
    return f"test/{name}" if name == metric else f"train/{name}"
