"""Post-training quantization as a fit: checkpoints in, one epoch per unit, checkpoints out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from torch import Tensor, nn

from lit_privq.quantization.batchnorm import correct_bias, tunable, tune_batch_norm
from lit_privq.quantization.checks import stays_float
from lit_privq.quantization.method import HasStart, Method, check_options
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantizing import Bits, Quantizing

logger = logging.getLogger(__name__)


class Calibration(Quantizing):
    """Quantize one trained model or a fleet of them, to one precision or several, on each model's own members.

    Args:
        checkpoint: path of a full-precision checkpoint; for a fleet with ``{index:03d}`` where the index stands.
        method: the quantizer, by class path.
        bits: 1, 1.58, 2, 4, 8, ...; or a map of shell patterns over layer names, the last match wins, such as
            ``{"*": 1.58, "last": 8}``, where ``last`` is the last layer whatever its name, and 32 leaves a layer in
            float; or a list of these, which share one pass over the float networks.
        name: of the method in folders and tables; None takes the class's name in lower case.
        batch_size: images per forward pass while activations are collected, and while biases are corrected.
        bias_correction: shift biases afterwards, so that each channel's mean output is the float network's.
        batch_norm_batches: batches of 128 calibration images, shifted and mirrored as in training, from which batch
            norms are estimated anew afterwards; 0 leaves them as they are, 100 is what follows OBC in the original.
        batch_norm_momentum: of that estimate; None averages all batches, 0.1 is the original's.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks checkpoints may name;
            the command line sets it from ``--trust``.
        repeat: which of several quantizations of the same models this is, each with other seeds; every two of them, 0
            and 1, 2 and 3, share one draw of the calibration examples.

    Raises:
        ValueError: if a number above is out of its range.
    """

    calibrates = True  # asks the data module for calibration sets

    def __init__(
        self,
        checkpoint: str,
        method: Method,
        bits: Bits | list[Bits],
        name: str | None = None,
        batch_size: int = 256,
        bias_correction: bool = False,
        batch_norm_batches: int = 0,
        batch_norm_momentum: float | None = None,
        trust: Sequence[str] = (),
        repeat: int = 0,
    ) -> None:
        super().__init__(checkpoint, bits, name or type(method).__name__.lower(), trust, repeat)
        self.save_hyperparameters()
        check_options(
            (batch_size >= 1, "batch_size must be at least 1, such as 256", batch_size),
            (batch_norm_batches >= 0, "batch_norm_batches must be at least 0, such as 100", batch_norm_batches),
            (
                batch_norm_momentum is None or 0 < batch_norm_momentum <= 1,
                "batch_norm_momentum must be a fraction in (0, 1], such as 0.1",
                batch_norm_momentum,
            ),
        )
        self.automatic_optimization = False
        self.method, self.batch_size = method, batch_size
        self.bias_correction = bias_correction
        self.batch_norm_batches, self.batch_norm_momentum = batch_norm_batches, batch_norm_momentum
        self.quantizer: NetworkQuantizer | None = None

    def setup(self, stage: str) -> None:
        """Read the checkpoints and hold them against the data; nothing is solved yet."""
        super().setup(stage)
        if self.batch_norm_batches and not tunable(self.nets[0]):
            logger.warning(
                "batch_norm_batches %d does nothing: no batch norm of this network keeps running statistics",
                self.batch_norm_batches,
            )

    @property
    def sees_members(self) -> bool:
        """Whether the method asks for statistics of the calibration images, or biases or batch norms are corrected."""
        start = self.method.start if isinstance(self.method, HasStart) else None
        return (
            self.bias_correction
            or bool(self.batch_norm_batches and tunable(self.nets[0]))
            or any(one.needs_gram or one.needs_activations for one in (self.method, start) if one)
        )

    def configure_optimizers(self) -> None:
        """Each method brings its own."""

    def configure_callbacks(self) -> list[L.Callback]:
        """One bar over the units, where the trainer would show one per epoch."""
        trainer: Any = self.trainer  # it has callbacks without declaring them
        bars = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]
        trainer.callbacks = [callback for callback in trainer.callbacks if callback not in bars]
        return [UnitBar() for _ in bars]

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Solve the next unit for all models and precisions, and advance past it."""
        if self.quantizer is None:
            seeds = [self.seed_of(model) for model in self.data.models]
            nets = [net.to(self.device) for net in self.nets]
            self.quantizer = NetworkQuantizer(nets, batch[0], self.method, self.bits, seeds, batch_size=self.batch_size)
            self.say_what_stays_float(self.quantizer, self.variants)
        reports = self.quantizer.step()
        self.reports += reports
        done, units = self.current_epoch + 1, len(self.quantizer.units)
        self.log_dict({"unit": float(done), "units": float(units)}, prog_bar=True)
        if reports:
            self.log("relative_error", sum(report.error for report in reports) / len(reports), prog_bar=True)
        if done >= units:
            self.trainer.should_stop = True

    def checkpoints(self) -> list[dict[str, Any]]:
        """One `Classifier` checkpoint per model and precision, which has codes in place of the quantized weights."""
        assert self.quantizer is not None
        return [
            self.quantized_checkpoint(
                k,
                precision,
                self._corrected(k, precision),
                self.quantizer,
                (k, precision),
                {"calibration": self.data.calibration(model)},
            )
            for precision in range(len(self.bits))
            for k, model in enumerate(self.data.models)
        ]

    def _corrected(self, k: int, precision: int) -> nn.Module:
        """The quantized network, its biases and batch norms corrected where that was asked for; weights stay."""
        assert self.quantizer is not None
        net, calibration = self.quantizer.network(k, precision), self.data.calibration(self.data.models[k])
        if self.bias_correction:
            images, bits = self.images(calibration), self.bits[precision]
            kept = correct_bias(self.nets[k], net, images, self.batch_size, lambda name: stays_float(name, bits))
            if kept and k == precision == 0:  # the same layers in all
                logger.warning(
                    "bias_correction leaves layers %s shifted: they have no bias or batch norm of their own",
                    ", ".join(kept),
                )
        if self.batch_norm_batches:
            seed, momentum = self.seed_of(self.data.models[k]), self.batch_norm_momentum
            tune_batch_norm(net, calibration, seed, self.batch_norm_batches, augment=self.images, momentum=momentum)
        return net


class UnitBar(TQDMProgressBar):
    """One bar over all units, instead of one for each epoch of one step."""

    @property
    def train_description(self) -> str:
        """What stands before the bar."""
        return "Units"

    def on_train_epoch_start(self, *_: Any) -> None:  # noqa: ANN401  # trainer and module
        """Go on with the same bar."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:  # noqa: ANN401
        """One more is done; how many there are is known from the first on."""
        assert isinstance(pl_module, Calibration)
        assert pl_module.quantizer is not None
        self.train_progress_bar.total = len(pl_module.quantizer.units)
        self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
        self.train_progress_bar.update(1)
