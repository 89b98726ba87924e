"""What each choice of a recipe costs or saves: milliseconds of a training step with it and without it.

python benchmarks/choices.py [--quick] [--json FILE]

Each is an option of a config, as a user sets it. One model, one process with one thread (on a GPU: one process), random
images; compilation happens before the clock starts.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

import torch
from fleet import SMALL, Case, synthetic
from rows import Row, options, show, spread

from lit_privq.study import workers as processes

CHOICES = {
    "channels_last": ("--model.channels_last", "true"),
    "bf16 autocast": ("--trainer.precision", "bf16-mixed"),
    "torch.compile": ("--model.compile", "true"),
    "fused optimizer": ("--model.optimizer.init_args.fused", "true"),
    "TF32 matrix products": ("--model.matmul_precision", "high"),
}
PLAIN = (
    "--data.calibration_size",
    "64",
    "--model.channels_last",
    "false",
    "--trainer.precision",
    "32-true",
    "--model.matmul_precision",
    "highest",
)
STEPS = 4  # of an epoch


def cases(quick: bool) -> list[Case]:
    """Networks and image sizes, from the demo's to the paper's."""
    found = []
    for size, stages in ((8, 2), (32, 3)):
        net = {"num_classes": 10, "in_channels": 3, "stages": stages, "width": 16}
        small = ("--model.net", json.dumps({"class_path": SMALL, "init_args": net}))
        found.append(synthetic("small residual net", "cifar10.yaml", [3, size, size], STEPS, 25_000, 1, (1,), small))
    if not quick:
        width = () if torch.cuda.is_available() else ("--model.net.init_args.width", "16")
        name = "ResNet-18" if torch.cuda.is_available() else "ResNet-18 of width 16"
        found.append(synthetic(name, "cifar10.yaml", [3, 32, 32], STEPS, 25_000, 1, (1,), width))
    return found


def step_milliseconds(case: Case, choice: tuple[str, ...], folder: Path) -> list[float]:
    """Milliseconds of a step, of CPU time or on a GPU of the clock, one value per timed epoch."""
    place = ("--trainer.default_root_dir", str(folder), "--data.model_index", "0:1")
    task = processes.Task("steps", "fleet:train_fleet", ([*case.argv, *PLAIN, *choice, *place], False), folder / "log")
    with processes.Pool(1, processes.WORKER) as worker:
        outcome = worker.call(task)
    if outcome.error:
        raise RuntimeError(f"{outcome.error}\n{task.log.read_text()[-2000:]}")
    clock = "seconds" if torch.cuda.is_available() else "cpu"
    return [1000 * seconds / STEPS for seconds in outcome.value[clock]]


def main() -> None:
    chosen = options(__doc__)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for case in cases(chosen.quick):
            plain = step_milliseconds(case, (), Path(name))
            for choice, option in CHOICES.items():
                with_it = step_milliseconds(case, option, Path(name))
                middle = statistics.median(with_it), statistics.median(plain)
                rows.append(Row(f"{case.name}, {choice}", *middle, "ms/step", spread(with_it, plain)))
    show(rows, chosen.json)


if __name__ == "__main__":
    main()
