"""LightningModule of quantization-aware training: float checkpoints in, quantized ones out, trained in between."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from lit_privq.artifacts.checkpoint import checkpoint_path
from lit_privq.artifacts.construction import Spec, construct
from lit_privq.artifacts.state import detached, load_state, with_prefix
from lit_privq.artifacts.trust import check_trusted, resolve
from lit_privq.classifier import check_whole_epochs, fresh_network
from lit_privq.data.batches import FleetBatch
from lit_privq.data.datamodule import is_trial
from lit_privq.fleet.stack import Stack
from lit_privq.fleet.ways import join
from lit_privq.quantization.layers import is_layer, modules_of, parameter_name
from lit_privq.quantization.method import Method
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.qat import QAT, OnGrids, TrainedGrids
from lit_privq.quantizing import SEED_STEP, Bits, Quantizing

_RECIPE = ("optimizer", "scheduler", "scheduler_interval", "label_smoothing", "channels_last", "matmul_precision")


class QuantizationAwareTraining(Quantizing):
    """Train one model or a fleet of them with rounded weights, at one precision or several, on its own members each.

    Data, their order and augmentation, loss, optimizer and schedule are those of the recipe by which the float model
    was trained, as its checkpoint says. A fleet trains as one module, in which each precision of a model is a network
    of its own.

    Args:
        checkpoint: path of a full-precision checkpoint; for a fleet with ``{index:03d}`` where the index stands.
        method: a `lit_privq.quantization.QAT`: where the training starts, how long it is, and the grids.
        bits: as of `Calibration`.
        name: of the method in folders and tables; None takes ``qat``.
        trust: as of `Calibration`.
        repeat: as of `Calibration`; the order of the data and their augmentation are another in each.

    Raises:
        ValueError: if the method is another.
    """

    def __init__(
        self,
        checkpoint: str,
        method: Method,
        bits: Bits | list[Bits],
        name: str | None = None,
        trust: Sequence[str] = (),
        repeat: int = 0,
    ) -> None:
        super().__init__(checkpoint, bits, name or "qat", trust, repeat)
        self.save_hyperparameters()
        if not isinstance(method, QAT):
            raise ValueError(
                f"method must be a lit_privq.quantization.QAT; got {type(method).__name__}, which is for Calibration"
            )
        self.method = method
        self.stack: Stack | None = None
        self.grids: TrainedGrids | None = None
        self.parameter_of: dict[str, str] = {}  # of each layer's weight, by the layer's name
        self.quantizers: list[tuple[NetworkQuantizer | None, list[int]]] = []  # by precision, at the end
        self.diverged: dict[int, int] = {}  # model -> the first epoch whose loss was not finite

    def setup(self, stage: str) -> None:
        """Read the checkpoints, stack the networks, and choose the first grids; a resumed run loads its state after."""
        super().setup(stage)
        check_whole_epochs(self.trainer)
        self._take_recipe()
        images = torch.stack([self.images(self.data.calibration(model)[:4]).cpu() for model in self.data.models])
        seeds = [self.seed_of(model) for model in self.data.models]
        engine = NetworkQuantizer(self.nets, images, Nearest(grid=self.method.grid), self.bits, seeds)
        self.say_what_stays_float(engine, self.variants)
        copies = [net for net in self._first_networks() for _ in self.bits]  # model * precisions + precision
        self.stack = join(copies, "auto", self.data.pool.inputs.shape[1:])
        modules = modules_of(self.nets[0])
        layers = {name: layer for name in engine.levels if is_layer(layer := modules[name])}
        self.parameter_of = {name: parameter_name(self.nets[0], name) for name in layers}
        levels = {name: own.repeat(len(self.nets)) for name, own in engine.levels.items()}
        self.grids = TrainedGrids(layers, levels, self._weights(), self.method.grid)

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # as Lightning declares it
        """The recipe's optimizer and schedule, or a cosine to 0."""
        assert self.stack is not None
        optimizer: Optimizer = _made(self.taught["optimizer"], self.stack.parameters())
        for group in optimizer.param_groups:
            group["lr"] *= self.method.rate
        if self.method.epochs is not None:
            return {"optimizer": optimizer, "lr_scheduler": CosineAnnealingLR(optimizer, self.method.epochs)}
        if self.taught["scheduler"] is None:
            return optimizer
        schedule = _made(self.taught["scheduler"], optimizer)
        interval = self.taught["scheduler_interval"] or "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def on_train_epoch_start(self) -> None:
        """Set the epoch's sums to zero."""
        self.history = {}
        self.loss_sum = torch.zeros(len(self.nets) * len(self.bits), device=self.device)

    def training_step(self, batch: list[FleetBatch] | tuple[Tensor, Tensor], _: int) -> Tensor:
        """Sum of the losses of all models and precisions, with rounded weights."""
        assert self.stack is not None
        batches = batch if isinstance(batch, list) else [_fleet_of_one(*batch)]
        weights, total, n = self._rounded(), torch.zeros((), device=self.device), len(self.bits)
        for part in batches:
            entries = [model * n + precision for model in part.models for precision in range(n)]
            inputs, labels = (each.repeat_interleave(n, dim=0) for each in (part.inputs, part.labels))
            answers = self.stack(inputs, None if len(batches) == 1 else entries, weights)
            losses = self.task.losses(answers, labels, self.taught["label_smoothing"] or 0.0).mean(dim=1)  # (entries,)
            self.loss_sum[entries] += losses.detach()
            total = total + losses.sum()
        return total

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401  # outputs, batch and its index
        """Note the epoch's mean losses with its last batch, per model over its precisions."""
        if not self.trainer.is_last_batch:
            return
        losses = (self.loss_sum / self.trainer.num_training_batches).view(len(self.nets), -1).mean(dim=1)  # (models,)
        self.history["loss"] = losses
        self.log("loss", losses.mean(), prog_bar=True)
        for model, is_finite in zip(self.data.models, losses.isfinite().tolist(), strict=True):
            if not is_finite:
                self.diverged.setdefault(model, self.current_epoch)

    @torch.no_grad()
    def checkpoints(self) -> list[dict[str, Any]]:
        """One quantized `Classifier` checkpoint per model and precision; one with NaN where a training diverged."""
        precisions = range(len(self.bits))
        if not self.quantizers:
            self._rounded()  # fits the grids to the last step's weights
            self.quantizers = [self._engine(precision) for precision in precisions]
        return [self._checkpoint(k, precision) for precision in precisions for k in range(len(self.nets))]

    def _checkpoint(self, k: int, precision: int) -> dict[str, Any]:
        """The checkpoint of one model at one precision."""
        quantizer, whole = self.quantizers[precision]
        if quantizer is None or k not in whole:
            state = with_prefix(detached(self._trained(k, precision).state_dict()), "net")
            about = {**self.parents[k]["lit_privq"], "variant": self.variants[precision]}
            return {**self.parents[k], "state_dict": state, "lit_privq": about}
        place = whole.index(k), 0
        net = quantizer.network(*place)
        return self.quantized_checkpoint(k, precision, net, quantizer, place, {self.task.metric: self.utility_of(net)})

    def _trained(self, k: int, precision: int) -> nn.Module:
        """A network with the float weights behind the rounded ones."""
        assert self.stack is not None
        net = copy.deepcopy(self.nets[k])
        load_state(net, self.stack.state_dict_of(k * len(self.bits) + precision))
        return net.to(self.device)

    def _engine(self, precision: int) -> tuple[NetworkQuantizer | None, list[int]]:
        """The engine at one precision, all units done, and the models in it: those that have not diverged."""
        nets = {k: self._trained(k, precision) for k in range(len(self.nets))}
        models = [k for k, net in nets.items() if all(value.isfinite().all() for value in net.state_dict().values())]
        if not models:
            return None, models
        images = torch.stack([self.images(self.data.calibration(self.data.models[k])) for k in models])
        method = OnGrids({name: self._grids_of(name, models, precision) for name in self.parameter_of})
        seeds = [self.seed_of(self.data.models[k]) for k in models]
        quantizer = NetworkQuantizer([nets[k] for k in models], images, method, [self.bits[precision]], seeds)
        for _ in quantizer.units:
            self.reports += [
                replace(report, model=models[report.model], precision=precision) for report in quantizer.step()
            ]
        return quantizer, models

    def _grids_of(self, name: str, models: Sequence[int], precision: int) -> tuple[Tensor, Tensor]:
        """Scale and zero of some models at one precision, (models * groups, rows, 1) each."""
        assert self.grids is not None
        entries = [k * len(self.bits) + precision for k in models]
        scale, zero = (value[entries].flatten(0, 1) for value in self.grids.affine(name))
        return scale, zero

    def _rounded(self) -> dict[str, Tensor]:
        """Rounded weights by the name of the parameter, (models * precisions, ...) each."""
        assert self.grids is not None
        rounded = self.grids(self._weights())
        return {self.parameter_of[name]: weight for name, weight in rounded.items()}

    def _weights(self) -> dict[str, Tensor]:
        """Float weights behind the rounded ones, by layer, (models * precisions, ...) each."""
        assert self.stack is not None
        return {name: self.stack.joined(parameter) for name, parameter in self.parameter_of.items()}

    def _first_networks(self) -> list[nn.Module]:
        """The networks that the training starts from, in the recipe's memory format."""
        nets = [copy.deepcopy(net) for net in self.nets]
        if self.method.first_weights == "initial":
            spec, seed = self.parents[0]["hyper_parameters"]["net"], self.data.seed
            nets = [fresh_network(spec, seed, model) for model in self.data.models]
        memory_format = torch.channels_last if self.taught["channels_last"] else torch.contiguous_format
        return [net.train().to(memory_format=memory_format) for net in nets]

    def _take_recipe(self) -> None:
        """Take the recipe from the parents: seed, length, precision of matrix products, and what later steps look up.

        Raises:
            ValueError: if the models were not trained by one recipe, or it cannot be repeated.
        """
        path, recipes = checkpoint_path(self.checkpoint, self.data.models[0]), [_recipe(one) for one in self.parents]
        other = next((model for model, one in zip(self.data.models, recipes, strict=True) if one != recipes[0]), None)
        if other is not None:
            raise ValueError(
                f"models that are trained together must come from one recipe; that of model {other} differs from that "
                f"of model {self.data.models[0]}, train it apart"
            )
        self.taught = recipes[0]
        if self.taught["optimizer"] is None:
            raise ValueError(
                f"{path} does not say which optimizer trained it, so its recipe cannot be repeated; name it in a config"
            )
        if self.parents[0]["hyper_parameters"].get("dp_sgd"):
            raise ValueError(
                f"{path} was trained by DP-SGD, and training it further without would give its members away; quantize "
                "it after training, such as with configs/ptq/descent.yaml"
            )
        check_trusted([self.taught["optimizer"], self.taught["scheduler"]], self.trust, path)
        torch.set_float32_matmul_precision(self.taught["matmul_precision"] or "highest")
        # Of the order and augmentation too, whatever seed this command was given.
        self.data.seed = self.taught["seed"] + SEED_STEP * self.repeat
        if not is_trial(self.trainer):
            self.trainer.fit_loop.max_epochs = self.method.epochs or self.taught["epochs"]


def _fleet_of_one(inputs: Tensor, labels: Tensor) -> FleetBatch:
    return FleetBatch((0,), inputs[None], labels[None], torch.ones_like(labels[None], dtype=torch.bool))


def _recipe(parent: Mapping[str, Any]) -> dict[str, Any]:
    """How a float model was trained."""
    named = {name: parent["hyper_parameters"].get(name) for name in _RECIPE}
    return {**named, "seed": parent["lit_privq"]["seed"], "epochs": parent["epoch"]}


def _made(spec: Spec, given: Any) -> Any:  # noqa: ANN401  # parameters or an optimizer
    """An optimizer or a schedule as a checkpoint names it, of what it is given."""
    return resolve(spec["class_path"])(given, **construct(spec.get("init_args", {})))
