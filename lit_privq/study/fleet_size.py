"""How many models one process should train at once, by measurement on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lit_privq.artifacts.construction import build
from lit_privq.classifier import ShadowTraining
from lit_privq.data.pool import Pool
from lit_privq.dp_sgd.per_example import watched
from lit_privq.fleet.stack import Stack
from lit_privq.fleet.ways import first_fit, stack_bytes

_JOBS = 5.0  # CPU seconds that a fleet's jobs cost a study beside their arithmetic, whatever its size


def choose(config: Path, overrides: list[str], jobs: int, fleet: int | None = None, devices: int = 1) -> dict[str, Any]:
    """Measure how many models one process should train at once: the fleet with the least time per model.

    Tries fleets that share the models out evenly, small ones first, on random batches with the recipe's own network and
    optimizer, as long as they fit into this process's share of the memory, get cheaper per model, and twenty seconds
    have not passed. On a CPU the seconds are the process's own: others at work on the machine do not sway the choice.

    Args:
        config: a shadow config.
        overrides: options behind it, as on the command line.
        jobs: how many processes will share this machine.
        fleet: the only size to measure, None to choose one.
        devices: GPUs among which the processes are divided.

    Returns:
        ``size``; ``how`` the networks of a fleet are stacked; ``step_seconds`` per model and ``steps`` of a training;
        ``fleet_bytes`` and ``gpu_bytes``, memory of the fleet and of the GPU, 0 without one; and ``why``: the
        measured milliseconds per model and step, and which ways of stacking do not fit.
    """
    from lit_privq.cli import run_cli

    cli = run_cli(["--config", str(config), *overrides], run=False)
    data = cli.datamodule
    most = -(-(data.n_shadows + data.n_targets) // jobs)
    shape = (min(data.batch_size, len(data.pool.labels) // 2), *data.pool.inputs.shape[1:])
    net = build(cli.model.spec)
    each = stack_bytes(net, shape)
    if cli.model.dp_sgd:  # a gradient of each example
        each += shape[0] * sum(value.numel() * value.element_size() for value in net.parameters())
    fits = max(1, int(_free_memory() / -(-jobs // devices) / 2 / each))
    steps = len(data.member_batches()) * (cli.trainer.max_epochs or 1)
    how, refused = "alone", list[str]()
    measured: dict[int, float] = {}  # seconds per model and step
    costs: dict[int, float] = {}  # seconds per model
    started = time.perf_counter()
    halved = sorted({-(-most // 2**halvings) for halvings in range(most.bit_length() + 1)})
    for size in [fleet] if fleet else halved:
        slower = costs and min(costs.values()) < 0.9 * list(costs.values())[-1]
        if costs and (size > fits or slower or time.perf_counter() - started > 20):
            break
        nets = [cli.model.in_format(build(cli.model.spec)) for _ in range(size)]
        joined, refused = first_fit(nets, shape[1:], cli.model.ways)
        how = joined.way  # the same for every fleet of more than one
        measured[size] = _step_seconds(joined, cli.model, data.pool, shape)
        costs[size] = steps * measured[size] + _JOBS / size
    shown = ", ".join(f"{1000 * seconds:.1f} ms with {size}" for size, seconds in measured.items())
    limit = f"; memory holds {fits}" if fits < most else ""
    size = min(costs, key=lambda size: costs[size])
    why = f"{shown} (per model and each of {steps} steps{limit})"
    return {
        "size": size,
        "how": how if size > 1 else "alone",
        "why": "; ".join([why, *refused]),
        "step_seconds": measured[size],
        "steps": steps,
        "fleet_bytes": 2 * size * each,
        "gpu_bytes": torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else 0,
    }


def _step_seconds(joined: Stack, recipe: ShadowTraining, pool: Pool, shape: Sequence[int]) -> float:
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
        if recipe.dp_sgd:
            with watched(joined.modules()) as calls:
                loss = pool.task.losses(joined(images), labels).sum()
            generators = [torch.Generator(device).manual_seed(model) for model in range(size)]
            recipe.dp_sgd.backward(loss, calls, joined.parts, generators, batch_size=shape[0])
        else:
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
