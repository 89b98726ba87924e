"""LightningModules that train shadow models and targets: the base class of one model and of a fleet, and one model."""

from __future__ import annotations

import logging
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
)
from torchmetrics import MeanMetric

import lit_privq
from lit_privq.artifacts.checkpoint import read_hyper_parameters
from lit_privq.artifacts.codes import restore_weights
from lit_privq.artifacts.construction import Spec, build, network_name, plain
from lit_privq.artifacts.state import detached, with_prefix
from lit_privq.artifacts.trust import check_trusted
from lit_privq.artifacts.variant import Variant
from lit_privq.data.datamodule import ShadowModule, is_trial, takes_all
from lit_privq.data.pool import Pool
from lit_privq.dp_sgd.checks import check_network
from lit_privq.dp_sgd.dp_sgd import DPSGD
from lit_privq.dp_sgd.per_example import LayerCall, watched
from lit_privq.quantization.checks import looks_like_softmax

logger = logging.getLogger(__name__)

_HOW = ("stacking", "recipe", "early")  # arguments that change no weight


class ShadowTraining(ShadowModule):
    """Base of `Classifier` and `Fleet`: loss, optimizer, schedule, metrics and checkpoints.

    What models are trained for follows from the labels of their pool: classes are told apart (cross-entropy,
    accuracy), values are predicted (squared error, R squared). See `lit_privq.data.task`.

    Args:
        net: the network; its class path and arguments go into the checkpoint, so that it can be built again. The
            command line knows them; a network that is passed as an object must be of `lit_privq.models`, or made by
            ``recorded(my_network)(...)`` of `lit_privq.artifacts`.
        optimizer: called with the parameters; elementwise ones (SGD, Adam) train a fleet exactly as alone.
        scheduler: called with the optimizer; None keeps the learning rate.
        scheduler_interval: whether the schedule counts ``epoch`` or ``step``.
        label_smoothing: of the cross-entropy; classes only.
        channels_last: memory format of images and convolutions; faster from 28x28 up.
        compile: run the network through torch.compile.
        matmul_precision: of float32 matrix products: ``highest``, ``high`` (TF32) or ``medium`` (bf16).
        recipe: under which name checkpoints are written; empty for a study's first.
        early: names of recipes that are this one stopped early, and the epochs after which their checkpoints are
            written.
        dp_sgd: clips and noise that make the training differentially private; None trains as usual.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: str = "epoch",
        label_smoothing: float = 0.0,
        channels_last: bool = False,
        compile: bool = False,
        matmul_precision: str = "highest",
        recipe: str = "",
        early: dict[str, int] | None = None,
        dp_sgd: DPSGD | None = None,
    ) -> None:
        super().__init__()
        with warnings.catch_warnings():  # Lightning advises against saving the net, without which none can be restored
            warnings.filterwarnings("ignore", message="Attribute 'net' is an instance of `nn.Module`")
            self.save_hyperparameters()
            self.save_hyperparameters(plain(dict(self.hparams)))  # objects as text, for loggers and checkpoints
        self.optimizer, self.scheduler, self.scheduler_interval = optimizer, scheduler, scheduler_interval
        self.label_smoothing = label_smoothing
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.compile_network, self.matmul_precision = compile, matmul_precision
        self.recipe, self.early = recipe, early or {}
        self.dp_sgd = dp_sgd
        self.calls: list[LayerCall] = []  # of DP-SGD's last forward pass
        self.history: dict[str, Tensor] = {}  # of the last epoch, name -> (models,)
        self.diverged: dict[int, int] = {}  # model -> the first epoch whose loss was not finite

    @property
    def spec(self) -> Spec:
        """Class path and arguments of the network.

        Raises:
            ValueError: if the network was passed as an object and nothing says how it was made.
        """
        spec: Spec | None = self.hparams["net"]
        if spec is None:
            raise ValueError(
                "a checkpoint must say how its network is made, and every model of a study is made anew; this one was "
                "passed as an object: pass recorded(my_network)(...) of lit_privq.artifacts, or name it by class "
                "path in a config"
            )
        return spec

    def setup(self, stage: str) -> None:
        """Set the precision of matrix products, part of the recipe; refuse what would not train what is meant."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        if stage == "fit":
            check_whole_epochs(self.trainer)
        net = build(self.spec)
        check_fits(net, self.data.pool)
        if self.memory_format == torch.channels_last and self.trainer.strategy.root_device.type == "cpu":
            check_threads(net)
        if stage == "fit" and self.dp_sgd:
            check_private(self.trainer, compiled=self.compile_network)
            check_network(net, self.data.pool.inputs.shape[1:])

    @property
    def ways(self) -> Sequence[Literal["grouped", "vmap"]]:
        """Ways to stack networks that this training supports, the fastest first: torch.func hides layers' calls."""
        return ("grouped",) if self.dp_sgd else ("grouped", "vmap")

    @property
    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The modules that hold the models: one for each, or one for all of them."""

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # Lightning's own type is a union of ten
        """One optimizer over everything, and its schedule.

        Raises:
            ValueError: if the training is longer than its schedule.
        """
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        by_step = self.scheduler_interval == "step"
        check_schedule(scheduler, self.trainer.estimated_stepping_batches if by_step else self.trainer.max_epochs)
        schedule = {"scheduler": scheduler, "interval": self.scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        """Delete the last epoch's metrics: not every epoch is validated, and an old accuracy would be written down."""
        self.history = {}

    def losses(self, answers: Tensor, labels: Tensor, present: Tensor | None = None) -> Tensor:
        """Mean loss of each model, (models,).

        Args:
            answers: (models, batch, outputs).
            labels: (models, batch).
            present: (models, batch) bool, the examples that count, perhaps none; None where all do.
        """
        losses = self.task.losses(answers, labels, self.label_smoothing)  # (models, batch)
        if present is None or not self.dp_sgd:
            return losses.mean(dim=1)
        return torch.where(present, losses, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)

    def objective(self, losses: Tensor, present: Tensor) -> Tensor:
        """What is differentiated: the sum of the models' mean losses; with DP-SGD the sum of their examples' losses."""
        return (losses * present.sum(dim=1)).sum() if self.dp_sgd else losses.sum()

    def watched(self) -> AbstractContextManager[list[LayerCall]]:
        """Collect the calls of a forward pass where DP-SGD needs them."""
        return watched(self.modules()) if self.dp_sgd else nullcontext([])

    def backward(self, loss: Tensor, *args: Any, **options: Any) -> None:  # noqa: ANN401  # Lightning's
        """Give the parameters their gradients, or with DP-SGD those of clipped examples with noise."""
        if self.dp_sgd is None:
            super().backward(loss, *args, **options)
            return
        generators = [self.noise_generator(model) for model in self.data.models]
        calls, self.calls = self.calls, []
        self.dp_sgd.backward(loss, calls, self.parts, generators, self.data.member_batches().mean_size)

    def noise_generator(self, model: int) -> torch.Generator:
        """Generator of DP-SGD's noise, from (seed, model, step) alone; the batches' streams have no fourth word."""
        seed = np.random.SeedSequence([self.data.seed, model, self.global_step, 1]).generate_state(1, np.uint64)
        return torch.Generator(self.device).manual_seed(int(seed[0] >> 1))

    def in_format(self, net: nn.Module) -> nn.Module:
        """A network in the recipe's memory format."""
        net.to(memory_format=self.memory_format)
        return net

    def fresh_network(self, model: int) -> nn.Module:
        """The network as model ``model`` of the study starts: weights drawn from (seed, model) alone."""
        return fresh_network(self.spec, self.data.seed, model)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another network, before PyTorch does in many lines.

        Raises:
            ValueError: naming the first weight that is not there, or has another shape.
        """
        given, own = checkpoint["state_dict"], self.state_dict()
        shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (given, own)]
        for name in sorted(shapes[0].keys() | shapes[1].keys()):
            theirs, ours = (shape.get(name) for shape in shapes)
            if theirs != ours:
                raise ValueError(
                    f"a checkpoint must hold the weights of the network that is to go on; of {name} it has shape "
                    f"{theirs}, and the network {ours}: use the config that the checkpoint was made with"
                )

    def end_epoch(self, losses: Tensor) -> None:
        """Note the epoch's mean losses, (models,), with its last batch: callbacks hear of its end before modules do.

        A training whose models have all diverged stops. The last epoch is validated, whatever
        ``check_val_every_n_epoch`` says: checkpoints hold its accuracy.
        """
        self.history["loss"] = losses
        self.log("loss", losses.mean(), prog_bar=True)
        finite = losses.isfinite().tolist()
        for model, is_finite in zip(self.data.models, finite, strict=True):
            if not is_finite:
                self.diverged.setdefault(model, self.current_epoch)
        trainer = self.trainer
        if not any(finite):
            trainer.should_stop = True
        last_epoch = trainer.max_epochs is not None and self.current_epoch + 1 == trainer.max_epochs
        if last_epoch or trainer.should_stop or self.global_step == trainer.max_steps:
            trainer.check_val_every_n_epoch = 1

    def ordinary_checkpoint(self, state: Mapping[str, Tensor], model: int, utility: float) -> dict[str, Any]:
        """A `Classifier` checkpoint of one model, with what later stages need to know about it."""
        data, pool = self.data, self.data.pool
        made = {
            "version": lit_privq.__version__,
            "dataset": pool.name,
            "fingerprint": data.fingerprint,
            "net": network_name(self.spec),
            "variant": Variant("none", 32, 32, recipe=self.recipe).name,
            "method": "none",
            "bits": 32,
            "image_shape": list(pool.inputs.shape[1:]),
            "mean": list(pool.mean),
            "std": list(pool.std),
            "size_bytes": sum(value.numel() * value.element_size() for value in state.values()),
            "index": model,
            "seed": data.seed,
            "data": {**plain(data.hparams), "model_index": model},
            "members": torch.from_numpy(data.members[model].copy()),
            self.task.metric: utility,
        }
        if self.dp_sgd:
            made["dp_sgd"] = self.dp_sgd.spent(data.member_batches().sample_rate, self.global_step)
        recipe = {name: value for name, value in plain(self.hparams).items() if name not in _HOW and value is not None}
        return {
            "state_dict": with_prefix(detached(state), "net"),
            "hyper_parameters": {
                **recipe,
                "_class_path": "lit_privq.Classifier",
                "_instantiator": "lightning.pytorch.cli.instantiate_module",  # Lightning's loader builds what is named
            },
            "pytorch-lightning_version": L.__version__,
            "epoch": self.current_epoch,
            "global_step": self.global_step,
            "lit_privq": made,
        }


class Classifier(ShadowTraining):
    """A network and the recipe that trains it, to classify or, where the labels are values, to predict these.

    See `ShadowTraining` for the arguments. A checkpoint of it, trained or quantized, restores with
    ``Classifier.load_from_checkpoint``.
    """

    def __init__(self, net: nn.Module, **recipe: Any) -> None:  # noqa: ANN401  # the arguments of `ShadowTraining`
        super().__init__(net, **recipe)
        self.net = self.in_format(net)
        # By default, a mean leaves NaN out and only warns: a diverged training would look well.
        self.loss, self.utility = MeanMetric(nan_strategy="disable"), MeanMetric(nan_strategy="disable")

    def setup(self, stage: str) -> None:
        """Draw this model's own initial weights; a resumed run loads its weights after this."""
        super().setup(stage)
        if stage == "fit":
            (model,) = self.data.models
            self.net.load_state_dict(self.fresh_network(model).state_dict())
        if self.compile_network:
            self.net.compile()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # a plain class method is enough
        cls,
        checkpoint_path: str | Path,
        *args: Any,  # noqa: ANN401
        trust: Sequence[str] = (),
        **options: Any,  # noqa: ANN401
    ) -> Classifier:
        """Load with Lightning's loader, after a check of the code that the checkpoint names.

        Args:
            checkpoint_path: a checkpoint of one model.
            args: Lightning's.
            trust: modules or packages, beside torch, torchvision and lit_privq, whose code the checkpoint may name.
            options: Lightning's.

        Raises:
            ValueError: if the checkpoint names other code.
        """
        check_trusted(read_hyper_parameters(Path(checkpoint_path)), trust, checkpoint_path)
        restored: Classifier = super().load_from_checkpoint(checkpoint_path, *args, **options)
        return restored

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the weights that a quantized checkpoint has as codes."""
        restore_weights(checkpoint)
        super().on_load_checkpoint(checkpoint)

    @property
    def parts(self) -> Sequence[nn.Module]:
        """The network."""
        return [self.net]

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits (batch, classes); of a regression, values (batch, 1)."""
        answers: Tensor = self.net(images.contiguous(memory_format=self.memory_format))
        return answers

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Loss of one batch."""
        images, labels = batch
        with self.watched() as self.calls:
            answers = self(images)[None]  # (1, batch, outputs)
        present = torch.ones_like(labels[None], dtype=torch.bool)  # (1, batch)
        losses = self.losses(answers, labels[None], present)
        self.loss.update(losses.detach())
        return self.objective(losses, present)

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401  # outputs, batch and its index
        """Note the epoch's mean loss with its last batch."""
        if self.trainer.is_last_batch:
            self.end_epoch(self.loss.compute()[None])
            self.loss.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy, or R squared, on the test set."""
        images, labels = batch
        self.utility.update(self.task.utility(self(images), labels).float())

    def on_validation_epoch_end(self) -> None:
        """Note and log it."""
        metric = self.task.metric
        self.history[metric] = self.utility.compute()[None]
        self.log(metric, self.history[metric][0], prog_bar=True)
        self.utility.reset()

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

    def predict_step(self, batch: tuple[Tensor, Tensor], _: int, dataloader_idx: int = 0) -> Tensor:
        """What the network answers, (batch, outputs)."""
        answers: Tensor = self(batch[0])
        return answers

    def checkpoints(self) -> list[dict[str, Any]]:
        """The checkpoints to write when training ends."""
        utility = float(self.history.get(self.task.metric, torch.tensor([float("nan")]))[0])
        return [self.ordinary_checkpoint(self.net.state_dict(), self.data.models[0], utility)]


def fresh_network(spec: Spec, seed: int, model: int) -> nn.Module:
    """A network as one model of a study starts: weights drawn from (seed, model) alone."""
    own = int(np.random.SeedSequence([seed, model]).generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(own)
        return build(spec)


def check_fits(net: nn.Module, pool: Pool) -> None:
    """Refuse a network that does not take the pool's inputs, or whose outputs do not fit its labels.

    A softmax at its end is logged as a warning: losses and attacks take logits.

    Raises:
        ValueError: naming both sides.
    """
    image = torch.zeros(1, *pool.inputs.shape[1:])
    try:
        with torch.no_grad():
            answers = net.eval()(image)
    except RuntimeError as error:
        what = f"the network must take the inputs of {pool.name}, in shape {tuple(image.shape[1:])}"
        raise ValueError(f"{what}; got {error}; correct model.net.init_args") from error
    if answers.shape != (1, pool.task.outputs):
        raise ValueError(
            f"the network must {pool.task.duty(pool.name)}; it answers in shape {tuple(answers.shape[1:])}, set "
            f"model.net.init_args.num_classes to {pool.task.outputs}"
        )
    if looks_like_softmax(answers):
        logger.warning(
            "the network seems to end in a softmax, as its answers are not negative and sum to 1; the loss applies one "
            "itself and attacks take logits, so leave the network's out"
        )


def check_whole_epochs(trainer: L.Trainer) -> None:
    """Refuse to train on a part of the members: an audit counts every member as trained on.

    Raises:
        ValueError: if ``limit_train_batches`` or ``overfit_batches`` leave members out of a training that is no trial.
    """
    if not is_trial(trainer) and not takes_all(trainer.limit_train_batches):  # overfit_batches sets it too
        raise ValueError(
            "a model trains on all of its members, which an audit counts on; got limit_train_batches "
            f"{trainer.limit_train_batches}, leave it out (to try a config, set trainer.fast_dev_run true)"
        )


def check_private(trainer: L.Trainer, compiled: bool) -> None:
    """Refuse what changes gradients between an example's loss and its clipping.

    Raises:
        ValueError: naming the option.
    """
    for option, got, right in (
        ("trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, 1),
        (
            "trainer.precision",
            trainer.precision,
            "bf16-mixed" if trainer.precision == "16-mixed" else trainer.precision,
        ),
        ("model.compile", compiled, False),
    ):
        if got != right:
            raise ValueError(f"DP-SGD clips the gradients of one batch as they are; got {option} {got}, set it {right}")


_BEHIND_ITS_END = {  # by class: the argument that says where it ends
    CosineAnnealingLR: ("T_max", "the learning rate rises again"),
    OneCycleLR: ("total_steps", "it raises an error"),
    PolynomialLR: ("total_iters", "the learning rate is 0"),
}


def check_schedule(scheduler: object, length: float | None) -> None:
    """Refuse a schedule that ends before the training does, as a whole or as one of its parts.

    Args:
        scheduler: of the learning rate.
        length: of the training, in the schedule's unit; -1 or None where it is open.

    Raises:
        ValueError: naming the schedule and both lengths.
    """
    if length is None:
        return
    for part, duration in _parts(scheduler, math.inf if length < 0 else length):
        for kind, (option, behind) in _BEHIND_ITS_END.items():
            if isinstance(part, kind) and duration > getattr(part, option):
                raise ValueError(
                    f"{option} of {kind.__name__} must be the length of the training, or of its part of it, as behind "
                    f"it {behind}; got {option} {getattr(part, option)} and a training of {duration:g}, set {option} "
                    "of model.scheduler with trainer.max_epochs"
                )


def _parts(scheduler: object, length: float) -> Iterator[tuple[object, float]]:
    """The schedules that a schedule is made of, and how long each runs in a training of a length."""
    if isinstance(scheduler, SequentialLR):
        starts = [0, *scheduler._milestones]
        stops = [*scheduler._milestones, length]
        for part, start, stop in zip(scheduler._schedulers, starts, stops, strict=True):
            yield from _parts(part, min(stop, length) - start)
    elif isinstance(scheduler, ChainedScheduler):
        for part in scheduler._schedulers:
            yield from _parts(part, length)
    else:
        yield scheduler, length


def check_threads(net: nn.Module) -> None:
    """Refuse a channels_last network that crashes torch 2.15 on a CPU with more than one thread.

    The gradient of a 1x1 convolution with a stride and fewer than 16 input channels writes outside of its memory:
    nn.Conv2d(8, 16, 1, stride=2, bias=False) on (61, 8, 16, 16) ends the process in a backward pass with two threads;
    16 channels, one thread or contiguous memory do not.

    Raises:
        ValueError: naming the layer.
    """
    if torch.get_num_threads() == 1:
        return
    for name, layer in net.named_modules():
        narrow = isinstance(layer, nn.Conv2d) and layer.in_channels < 16 and layer.kernel_size == (1, 1)
        if narrow and max(layer.stride) > 1:
            raise ValueError(
                f"torch crashes in the backward pass of layer {name}, a strided 1x1 convolution of fewer than 16 "
                f"channels in channels_last, with more than one thread; got {torch.get_num_threads()} threads, set "
                "model.channels_last false or OMP_NUM_THREADS=1"
            )
