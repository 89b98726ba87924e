"""How good quantized models are on the test set, measured at the end of the fit that quantized them."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from lit_privq.artifacts.checkpoint import network_of
from lit_privq.artifacts.codes import restore_weights
from lit_privq.quantizing import Quantizing


class QuantizedUtility(L.Callback):
    """Measure accuracy, or R squared, of each model at each variant, for those who compare options of a quantizer.

    A study need not: its queries measure the same.

    Args:
        batch_size: test examples per forward pass.
    """

    def __init__(self, batch_size: int = 512) -> None:
        self.batch_size = batch_size
        self.utility: dict[tuple[str, int], dict[str, float]] = {}  # variant and model -> the metric's value

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the networks as they will be in the checkpoints.

        Raises:
            ValueError: if nothing is quantized here.
        """
        if not isinstance(pl_module, Quantizing):
            raise ValueError(
                f"QuantizedUtility measures what a fit has quantized; got {type(pl_module).__name__}, take it "
                "out of this config's callbacks"
            )
        self.utility = {}
        for checkpoint in pl_module.checkpoints():
            restore_weights(checkpoint)
            made = checkpoint["lit_privq"]
            net = network_of(checkpoint, Path(made["variant"]), pl_module.trust).to(pl_module.device)
            self.utility[made["variant"], made["index"]] = {
                f"test/{pl_module.task.metric}": pl_module.utility_of(net, self.batch_size)
            }
