"""CPU time of a DP-SGD step: our per-example gradients beside torch.func's and opacus', and beside plain training.

python benchmarks/dp.py [--quick] [--json FILE]

The residual net of width 16, on one thread: the digits (8x8, batches of 64) and colour images (32x32, batches of 128),
random pixels. A row's own side is CPU milliseconds per model and step, optimizer included, the median of steps that all
ways take in turn; the other side is plain training of the same fleet with batch norm, as the shadow configs have it
(channels_last), and the note their ratio step by step. torch.func's row has clipped gradients alone, without noise and
optimizer. opacus trains one model at a time; its mode "ew" fails on a last batch of another size, and ghost clipping
has no advantage for convolutions.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import quantiles

import torch
from rows import Row, median, options, show
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from lit_privq import DPSGD
from lit_privq.dp_sgd.per_example import watched
from lit_privq.fleet.ways import AloneStack, GroupedStack
from lit_privq.models import small_resnet

NOISE = DPSGD(0.3, sampling="shuffled")


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def losses(answers: Tensor, labels: Tensor) -> Tensor:
    """(models, batch)."""
    return functional.cross_entropy(answers.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def plain(nets: Sequence[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], None]:
    stack = GroupedStack(nets) if len(nets) > 1 else AloneStack(nets)
    optimizer = sgd(stack)

    def step() -> None:
        optimizer.zero_grad()
        losses(stack(images), labels).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def ours(nets: Sequence[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], None]:
    stack = GroupedStack(nets) if len(nets) > 1 else AloneStack(nets)
    optimizer = sgd(stack)
    generators = [torch.Generator().manual_seed(k) for k in range(len(nets))]

    def step() -> None:
        with watched(stack.modules()) as calls:
            loss = losses(stack(images), labels).sum()
        NOISE.backward(loss, calls, stack.parts, generators, batch_size=images.shape[1])
        optimizer.step()

    return step


def by_func(nets: Sequence[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Clipped gradients of whole networks by torch.func; without noise and optimizer."""
    net = copy.deepcopy(nets[0])
    names = [name for name, _ in net.named_parameters()]
    state = {name: torch.stack([one.get_parameter(name).detach() for one in nets]) for name in names}

    def loss(own: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(net, own, (image[None],)), label[None])

    every = vmap(vmap(grad(loss), in_dims=(None, 0, 0)))

    def step() -> object:
        found = every(state, images, labels)  # (models, batch, ...)
        norms = torch.stack([one.flatten(2).norm(dim=2) for one in found.values()]).norm(dim=0)
        return [torch.einsum("mb,mb...->m...", 1 / norms.clamp(min=1), one) for one in found.values()]

    return step


def by_opacus(nets: Sequence[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], None]:
    """One model, by hooks, which is opacus' default."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    net = GradSampleModule(copy.deepcopy(nets[0]))
    optimizer = DPOptimizer(sgd(net), noise_multiplier=0.3, max_grad_norm=1.0, expected_batch_size=images.shape[1])

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images[0]), labels[0]).backward()
        optimizer.step()

    return step


def milliseconds(ways: Mapping[str, tuple[Callable[[], object], int]], repeats: int) -> dict[str, list[float]]:
    """CPU milliseconds per model of some steps in each way, in turn, so that what else runs here hits all alike.

    Args:
        ways: a step, and how many models it trains.
        repeats: how many steps; two more warm up.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 2):
        for name, (step, models) in ways.items():
            started = time.process_time()
            step()
            found[name].append(1000 * (time.process_time() - started) / models)
    return {name: times[2:] for name, times in found.items()}


def rows(name: str, side: int, batch: int, stages: int, models: int, repeats: int) -> list[Row]:
    """What a step costs in each way, the median of some repeats, and its quartiles."""
    torch.manual_seed(0)
    channels = 1 if side == 8 else 3
    images = torch.randn(models, batch, channels, side, side)
    labels = torch.randint(10, (models, batch))
    batch_norm = [
        small_resnet(10, channels, 16, stages).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(models)
    ]
    group_norm = [small_resnet(10, channels, 16, stages, norm="group") for _ in range(models)]
    times = milliseconds(
        {
            "plain": (plain(batch_norm, images, labels), models),
            "plain, group norm": (plain(group_norm, images, labels), models),
            "DP-SGD, ours": (ours(group_norm, images, labels), models),
            "DP-SGD, torch.func": (by_func(group_norm, images, labels), models),
            "DP-SGD, opacus' hooks, one model": (by_opacus(group_norm, images, labels), 1),
        },
        repeats,
    )
    base = times.pop("plain")
    found = []
    for way, here in times.items():
        low, middle, high = quantiles([own / other for own, other in zip(here, base, strict=True)])
        note = f"{middle:.2f} times plain, quartiles {low:.2f} to {high:.2f}"
        found.append(Row(f"{name}, F = {models}: {way}", median(here), median(base), "ms", note=note))
    return found


def main() -> None:
    chosen = options(__doc__)
    torch.set_num_threads(1)
    cases = [
        ("digits, 8x8", 8, 64, 2, 1, 60),
        ("digits, 8x8", 8, 64, 2, 10, 20),
        ("colour, 32x32", 32, 128, 3, 1, 12),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook")  # of opacus
        found = [row for *case, repeats in cases for row in rows(*case, repeats // (5 if chosen.quick else 1))]
    show(found, chosen.json)


if __name__ == "__main__":
    main()
