"""Many shadow models trained at once, in one process and as one module; one ordinary checkpoint each."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lit_privq.classifier import Recipe, build
from lit_privq.data.datamodule import MemberBatches, Share
from lit_privq.data.pool import Pool
from lit_privq.models.stack import Stack, Way, stack, stack_bytes
from lit_privq.models.stackable import CannotStack

Stacking = Literal["auto", "grouped", "vmap", "alone"]
_JOBS = 5.0  # CPU seconds that a fleet's jobs cost a study beside their arithmetic, whatever its size


def join(nets: Sequence[nn.Module], stacking: Stacking, image_shape: Sequence[int]) -> Stack:
    """Stack networks as asked for, or, for ``auto``, in the first way that they survive, and say why not in the others.

    Raises:
        CannotStack: if the way asked for does not fit these networks.
    """
    if stacking != "auto":
        return stack(nets, stacking, image_shape)
    joined, refused = _first_fit(nets, image_shape)
    for reason in refused:
        rank_zero_info(reason)
    return joined


def _first_fit(nets: Sequence[nn.Module], image_shape: Sequence[int]) -> tuple[Stack, list[str]]:
    """The first way of stacking that networks survive, and a line for each that they do not."""
    refused: list[str] = []
    ways: tuple[Way, ...] = ("grouped", "vmap")
    for way in ways if len(nets) > 1 else ():
        try:
            return stack(nets, way, image_shape), refused
        except CannotStack as reason:
            refused.append(f"not {way}: {reason}")
    return stack(nets, "alone", image_shape), refused


class Fleet(Recipe):
    """F models of one architecture, each with its own members, order, augmentation and initial weights.

    Takes the configuration of a `Classifier`: the command line puts a fleet in its place where ``model_index`` is a
    range.
    Model i of a fleet equals model i trained alone, up to the order of floating-point sums: losses are
    summed over models, so that every model's gradient is its own, and the optimizer works elementwise.

    Args:
        net: the network, by class path.
        stacking: how networks become one: ``grouped`` (grouped convolutions, batched matrix products), ``vmap``
            (any network torch.func can map), ``alone`` (one after the other), or ``auto``: the first that fits.
        recipe: the arguments of `Recipe`.
    """

    def __init__(self, net: nn.Module, stacking: Stacking = "auto", **recipe: Any) -> None:  # noqa: ANN401  # of `Recipe`
        super().__init__(net, **recipe)
        self.stacking = stacking
        self.stack: Stack | None = None

    def setup(self, stage: str) -> None:
        """Draw the networks as each is drawn alone (``configure_model`` would draw on the GPU), and stack them."""
        super().setup(stage)
        if self.trainer.gradient_clip_val:
            raise ValueError(
                "gradient_clip_val clips the norm over all models of a fleet; train them alone (fleet: 1 in a study), "
                "or leave it out"
            )
        nets = [self.in_format(self.fresh_network(model)) for model in self.data.models]
        self.stack = join(nets, self.stacking, self.data.pool.inputs.shape[1:])
        if self.compile_network:
            self.stack.compile()

    def forward(self, images: Tensor, models: tuple[int, ...] | None = None) -> Tensor:
        """(models, batch, channels, height, width) -> logits (models, batch, classes), or values (models, batch, 1)."""
        assert self.stack is not None
        answers: Tensor = self.stack(images, models)
        return answers

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums."""
        super().on_train_epoch_start()
        self.loss_sum = torch.zeros(len(self.data.models), device=self.device)

    def training_step(self, shares: list[Share], _: int) -> Tensor:
        """Sum of the models' losses; one share, except where some models have an example fewer than others."""
        total = torch.zeros((), device=self.device)
        for share in shares:
            models = None if len(shares) == 1 else share.models
            losses = self.losses(self(share.inputs, models), share.labels)  # (models,)
            self.loss_sum[list(share.models)] += losses.detach()
            total = total + losses.sum()
        return total

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401  # outputs, batch and its index
        """Write the epoch's losses down with its last batch, per model."""
        if self.trainer.is_last_batch:
            self.history["loss"] = self.loss_sum / self.trainer.num_training_batches

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.utility_sum, self.seen = torch.zeros(len(self.data.models), device=self.device), 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy, or R squared, on the test set: every model sees the same images."""
        images, labels = batch
        answers = self(images.expand(len(self.data.models), *images.shape))
        self.utility_sum += self.task.utility(answers, labels).sum(dim=1)
        self.seen += len(labels)

    def on_validation_epoch_end(self) -> None:
        """Write it down, per model."""
        metric = self.task.metric
        self.history[metric] = self.utility_sum / self.seen
        self.log(metric, self.history[metric].mean(), prog_bar=True)

    test_step, on_test_epoch_start, on_test_epoch_end = (
        validation_step,
        on_validation_epoch_start,
        on_validation_epoch_end,
    )

    def checkpoints(self) -> list[dict[str, Any]]:
        """One ordinary `Classifier` checkpoint per model."""
        assert self.stack is not None
        utility = self.history.get(self.task.metric, torch.full((len(self.data.models),), float("nan"))).tolist()
        return [
            self.ordinary_checkpoint(self.stack.state_dict_of(k), model, utility[k])
            for k, model in enumerate(self.data.models)
        ]


def choose(config: Path, overrides: list[str], jobs: int) -> dict[str, Any]:
    """Measure how many models one process should train at once: the fleet with the least time per model.

    Tries fleets that share the models out evenly, small ones first, on random batches with the recipe's own network and
    optimizer, as long as they fit into this process's share of the memory, get cheaper per model, and twenty seconds
    have not passed. On a CPU the seconds are the process's own: others at work on the machine do not sway the choice.

    Args:
        config: a shadow config.
        overrides: options behind it, as on the command line.
        jobs: how many processes will share this machine.

    Returns:
        ``size``; ``how`` the networks of a fleet are stacked; and ``why``: the measured milliseconds per model and
        step, how many steps there are, and which ways of stacking do not fit.
    """
    from lit_privq.cli import run_cli

    cli = run_cli(["--config", str(config), *overrides], run=False)
    data = cli.datamodule
    most = -(-(data.n_shadows + data.n_targets) // jobs)
    shape = (min(data.batch_size, len(data.pool.labels) // 2), *data.pool.inputs.shape[1:])
    fits = max(1, int(_free_memory() / jobs / 2 / stack_bytes(build(cli.model.hparams["net"]), shape)))
    steps = len(MemberBatches(data)) * (cli.trainer.max_epochs or 1)
    how, refused = "alone", list[str]()
    measured: dict[int, float] = {}  # seconds per model and step
    costs: dict[int, float] = {}  # seconds per model
    started = time.perf_counter()
    for size in sorted({-(-most // 2**halvings) for halvings in range(most.bit_length() + 1)}):
        slower = costs and min(costs.values()) < 0.9 * list(costs.values())[-1]
        if costs and (size > fits or slower or time.perf_counter() - started > 20):
            break
        nets = [cli.model.in_format(build(cli.model.hparams["net"])) for _ in range(size)]
        joined, refused = _first_fit(nets, shape[1:])
        how = joined.way  # the same for every fleet of more than one
        measured[size] = _step_seconds(joined, cli.model, data.pool, shape)
        costs[size] = steps * measured[size] + _JOBS / size
    shown = ", ".join(f"{1000 * seconds:.1f} ms with {size}" for size, seconds in measured.items())
    limit = f"; memory holds {fits}" if fits < most else ""
    size = min(costs, key=lambda size: costs[size])
    why = f"{shown} (per model and each of {steps} steps{limit})"
    return {"size": size, "how": how if size > 1 else "alone", "why": "; ".join([why, *refused])}


def _step_seconds(joined: Stack, recipe: Recipe, pool: Pool, shape: Sequence[int]) -> float:
    """Seconds per model that a training step of a fleet takes, the least of three."""
    size = joined.size
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    joined.to(device)
    optimizer = recipe.optimizer(joined.parameters())
    images = torch.randn(size, *shape, device=device)
    labels = torch.zeros(images.shape[:2], dtype=pool.labels.dtype, device=device)
    seconds = []
    for _ in range(4):  # the first warms up
        started = clock()
        optimizer.zero_grad()
        pool.task.losses(joined(images), labels).mean(dim=1).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append((clock() - started) / size)
    return min(seconds[1:])


def _free_memory() -> int:
    """Bytes that are free for tensors: on the GPU, else in the machine, files that it keeps in memory not counted."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    table = Path("/proc/meminfo")  # of Linux; elsewhere what no file occupies
    lines = table.read_text(encoding="ascii").splitlines() if table.is_file() else []
    available = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return available[0] if available else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
