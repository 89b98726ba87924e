"""How much of a core the stages use: arithmetic per second beside that of a large matrix product, and what costs most.

python benchmarks/machine.py [--quick] [--json FILE]

One process with one thread, as a study's workers have. Each stage is the whole command, libraries imported, so reading
the command line and the data, W&B and checkpoints count as time without arithmetic. A step of training counts as three
forward passes; normalisation, activations and the optimizer count as none.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fleet import SHADOW, Case, cases
from rows import Row, options, show, spread
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lit_privq.artifacts.construction import build
from lit_privq.cli import main as command
from lit_privq.cli import run_cli

CONFIGS = SHADOW.parent


def matrix_rate() -> list[float]:
    """Multiplications and additions per CPU second of float32 matrix products, 1024 x 1024, in repeats."""
    a = torch.randn(1024, 1024)
    rates = []
    for _ in range(6):
        start = time.process_time()
        for _ in range(5):
            a @ a
        rates.append(5 * 2 * 1024**3 / (time.process_time() - start))
    return rates[1:]


def counted(run: Callable[[], object]) -> int:
    """Multiplications and additions of a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def stage(name: str, run: Callable[[], object], flops: float, rates: list[float], repeats: int) -> Row:
    """Time a stage and say what it spends its time on."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()  # as the profiler takes it
        run()
        whole = time.perf_counter() - start
    costs = {event.key: event.self_cpu_time_total / 1e6 / whole for event in profiler.key_averages()}
    costs["outside torch's operators"] = max(0.0, 1 - sum(costs.values()))
    largest = sorted(costs, key=lambda key: -costs[key])[:4]
    note = ", ".join(f"{key.removeprefix('aten::')} {costs[key]:.0%}" for key in largest)
    achieved = [flops / s / 1e9 for s in seconds]
    best = [rate / 1e9 for rate in rates]
    middle = sorted(achieved)[len(achieved) // 2], sorted(best)[len(best) // 2]
    return Row(name, *middle, "GFLOP/s", spread(achieved, best), more_is_better=True, note=note)


def training(case: Case, size: int, epochs: int, folder: Path) -> tuple[Callable[[], object], float]:
    """A fleet's training, and its arithmetic."""
    short = ["--trainer.max_epochs", str(epochs), "--trainer.check_val_every_n_epoch", str(epochs)]
    argv = [*case.argv, *short, "--data.model_index", f"0:{size}", "--trainer.default_root_dir", str(folder)]
    cli = run_cli(argv, run=False)
    pool, net = cli.datamodule.pool, build(cli.model.spec)
    image = torch.zeros(1, *pool.inputs.shape[1:])
    forward = counted(lambda: net.eval()(image))
    images = 3 * epochs * (len(pool.labels) // 2) + len(pool.test_labels)
    return lambda: command(["fit", *argv]), float(size * images * forward)


def main() -> None:
    chosen = options(__doc__)
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "offline"
    repeats = 1 if chosen.quick else 3
    rates = matrix_rate()
    digits, *larger = cases(quick=True)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (4,) if chosen.quick else (1, 4, 10):
            run, flops = training(digits, size, 10 if chosen.quick else 30, folder)
            rows.append(stage(f"training, digits, F = {size}", run, flops, rates, repeats))
        index = ["--data.model_index", f"0:{size}", "--trainer.default_root_dir", str(folder)]
        pattern = str(folder / "checkpoints/none-32/{index:03d}.ckpt")
        for method in ("ptq/nearest.yaml", "ptq/digits/adaround.yaml"):
            argv = ["fit", "--config", str(CONFIGS / method), "--model.checkpoint", pattern, *index]
            calibrate = _command([*argv, "--model.bits", "[4, 2, 1.58]"])
            title = f"calibration, {Path(method).stem} at three precisions, digits, F = {size}"
            rows.append(stage(title, calibrate, counted(calibrate), rates, repeats))
        query = _command(["predict", "--config", str(CONFIGS / "query/digits.yaml"), "--ckpt_path", pattern, *index])
        rows.append(stage(f"querying, digits, F = {size}", query, counted(query), rates, repeats))
        for case in larger:
            run, flops = training(case, 1, 4, folder)
            rows.append(stage(f"training, {case.name.split(', ')[1]}, F = 1", run, flops, rates, repeats))
    show(rows, chosen.json)


def _command(argv: list[str]) -> Callable[[], object]:
    """A call of the command line."""
    return lambda: command(argv)


if __name__ == "__main__":
    main()
