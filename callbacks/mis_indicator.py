"""Callback that measures the MIS indicator on the last weights of any training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lit_privq.artifacts.construction import network_name
from lit_privq.classifier import Classifier, ShadowTraining
from lit_privq.fleet import Fleet
from lit_privq.indicator.network import Examples, Weights, codebooks, layers_of, network_runs
from lit_privq.indicator.quantizers import Quantizer, compared_quantizers
from lit_privq.indicator.runs import write_runs


class MisIndicator(L.Callback):
    """Keep the last weights of every model of a fit, and write ``<default_root_dir>/indicator/<index>.npz`` at its end.

    Those of another recipe than a study's first go to ``indicator/<recipe>/<index>.npz``.
    The files are there before the checkpoints are, wherever this callback is listed: a study that finds a model's
    checkpoint need not ask for its file. Snapshots are saved in resume checkpoints and restored from them.

    Args:
        snapshots: T, how many of the last weights are kept, the final ones among them.
        every: optimizer steps from one snapshot to the next; 0 for an epoch.
        examples: at most so many of the test set, which no model trains on, are the reference set; and of a model's
            members as many tell whether it interpolates.
        quantizers: by name; None for those of arXiv:2502.06567, from the sign to 8 bits.
    """

    def __init__(
        self,
        snapshots: int = 10,
        every: int = 0,
        examples: int = 200,
        quantizers: dict[str, Quantizer] | None = None,
    ) -> None:
        if snapshots < 2 or every < 0 or examples < 2:
            raise ValueError(
                "snapshots and examples must be at least 2, every at least 0 (0 is an epoch); "
                f"got snapshots {snapshots}, examples {examples}, every {every}"
            )
        self.snapshots, self.every, self.examples = snapshots, every, examples
        self.quantizers = quantizers or compared_quantizers()
        self.due = range(0)  # optimizer steps after which weights are kept
        self.kept: dict[int, list[dict[str, Tensor]]] = {}  # step -> the layers' weights of each model

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Drop the snapshots of an earlier fit; a resume checkpoint is read after this."""
        self.due, self.kept = range(0), {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Choose the steps, and say so where a training is too short for them, such as one to try a config.

        Raises:
            ValueError: if no network is trained here.
        """
        if not isinstance(pl_module, ShadowTraining):
            raise ValueError(
                f"MisIndicator watches the training of a Classifier or a Fleet; got {type(pl_module).__name__}, "
                "take it out of this config's callbacks"
            )
        steps = trainer.estimated_stepping_batches
        every = self.every or math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        if not self.snapshots * every <= steps < math.inf:
            rank_zero_warn(
                f"no indicator is written: {self.snapshots} snapshots, each {every} optimizer steps after the last, "
                f"need a training of at least {self.snapshots * every} steps whose end is known; got {steps}: lower "
                "snapshots or every of MisIndicator, or set trainer.max_epochs"
            )
            return
        last = int(steps)
        self.due = range(last - (self.snapshots - 1) * every, last + 1, every)
        self.net = pl_module.fresh_network(pl_module.data.models[0])  # leaves the training's random numbers alone

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Keep the weights, if a snapshot is due."""
        if trainer.global_step in self.due:
            self.kept[trainer.global_step] = [
                {name: state[f"{name}.weight"].detach().cpu().clone() for name in layers_of(self.net)}
                for state in _states(pl_module)
            ]

    def state_dict(self) -> dict[str, Any]:
        """State for a resume checkpoint."""
        return {"kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a resume checkpoint."""
        self.kept = state_dict["kept"]

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure every model, and write its file."""
        if not self.due:
            return
        if list(self.kept) != list(self.due):
            rank_zero_warn(
                f"no indicator is written: it needs the weights after the steps {list(self.due)}, and has those after "
                f"{list(self.kept)}; the training ended early, or began without MisIndicator"
            )
            return
        assert isinstance(pl_module, ShadowTraining)
        network = network_name(pl_module.spec)
        test = np.arange(len(pl_module.data.pool.test_labels))
        reference = self._examples(trainer, pl_module, "test", test)
        self.net.to(reference.inputs).eval()
        finals = [_moved(weights, pl_module.device) for weights in self.kept[trainer.global_step]]
        books = codebooks(self.net, finals, self.quantizers)
        for k, (model, state) in enumerate(zip(pl_module.data.models, _states(pl_module), strict=True)):
            own = np.flatnonzero(pl_module.data.members[model])
            self.net.load_state_dict(state)
            runs = network_runs(
                self.net,
                [_moved(weights[k], pl_module.device) for weights in self.kept.values()],
                books[k],
                reference,
                self._examples(trainer, pl_module, "pool", own),
                model,
                {"n": len(own), "data": pl_module.data.pool.name, "net": network, "every": self.due.step},
            )
            write_runs(Path(trainer.default_root_dir) / "indicator" / pl_module.recipe / f"{model:03d}.npz", runs)
        self.kept = {}

    def _examples(self, trainer: L.Trainer, module: ShadowTraining, part: str, among: Any) -> Examples:  # noqa: ANN401
        """A fixed random draw of these examples, without augmentation, on the module's device."""
        chosen = np.sort(np.random.default_rng(0).permutation(among)[: self.examples])
        batch = module.data.augmentation(torch.from_numpy(chosen).to(module.device), None)
        inputs, labels = module.data.batch_maker(part, module.device).batch(batch)
        return Examples(trainer.precision_plugin.convert_input(inputs), labels, module.task)


def _moved(weights: Weights, device: torch.device) -> Weights:
    return {name: weight.to(device) for name, weight in weights.items()}


def _states(module: L.LightningModule) -> list[Mapping[str, Tensor]]:
    """The state of each model in a module."""
    if isinstance(module, Fleet):
        assert module.stack is not None
        return [module.stack.state_dict_of(k) for k in range(module.stack.size)]
    assert isinstance(module, Classifier)
    return [module.net.state_dict()]
