"""Progress of a fit or a predict as lines of text, where there is no terminal to draw a bar in."""

from __future__ import annotations

import time
from typing import Any, TextIO

import lightning as L


class ProgressLines(L.Callback):
    """Write a line every so often: epoch, batch, and the metrics that a progress bar would show.

    Args:
        stream: where to write.
        seconds: least time between two lines; a run that is shorter writes none.
    """

    def __init__(self, stream: TextIO, seconds: float = 10.0) -> None:
        self.stream, self.seconds = stream, seconds

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Begin to count the seconds."""
        self.start = self.said = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:  # noqa: ANN401
        """Say which batch is done: an epoch may take minutes."""
        if self._is_due():
            batch = f"batch {trainer.fit_loop.batch_idx + 1} of {trainer.num_training_batches}"
            self._say(trainer, f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, {batch}")

    def on_predict_batch_end(self, trainer: L.Trainer, *_: Any) -> None:  # noqa: ANN401
        """Say how many batches are done."""
        if self._is_due():
            done, total = trainer.predict_loop.batch_progress.total.ready, sum(trainer.num_predict_batches)
            self._say(trainer, f"batch {done} of {total:.0f}")

    def _is_due(self) -> bool:
        return time.monotonic() - self.said >= self.seconds

    def _say(self, trainer: L.Trainer, what: str) -> None:
        metrics = dict(trainer.progress_bar_metrics)
        if "units" in metrics:  # a quantizer's epochs are the units of the network, whose number they do not know
            what = f"unit {metrics.pop('unit'):.0f} of {metrics.pop('units'):.0f}"
        self.said = time.monotonic()
        shown = "".join(f", {name} {float(value):.4g}" for name, value in metrics.items())
        self.stream.write(f"{self.said - self.start:.0f} s: {what}{shown}\n")
        self.stream.flush()
