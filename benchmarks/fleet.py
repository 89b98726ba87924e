"""Models per minute: fleets in one process per core against a plain PyTorch loop on all cores.

python benchmarks/fleet.py [--quick] [--json FILE]

The other side is benchmarks/plain_loop.py with the better of 0 and 2 loader processes. Imports are outside the clock on
both sides. The digits' trainings are timed whole; with ours that is everything a study's job does: reading the command
line and the data, training, testing, offline W&B, checkpoints. Of the larger ones some epochs over few synthetic uint8
images are timed, and the row says what was extrapolated from them. ``fleet: auto`` is what lit_privq.study.fleet_size
picks; rows of a fixed F have no ratio.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rows import Row, options, show, spread

from lit_privq.data.pool import Pool
from lit_privq.study import workers as processes
from lit_privq.study.tasks import cores

SHADOW = Path(__file__).parent.parent / "configs/shadow"
SMALL = "lit_privq.models.small_resnet"
EPOCHS = 4  # of a training that is extrapolated; the first is not counted


@dataclass(frozen=True)
class Noise:
    """Random images, for timings only.

    Args:
        shape: channels, height, width.
        pool_size: of the pool.
    """

    shape: list[int]
    pool_size: int

    def load(self, root: Path, download: bool) -> Pool:
        """Draw them."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (self.pool_size, *self.shape), dtype=torch.uint8, generator=generator)
        labels = torch.randint(10, (self.pool_size,), generator=generator)
        half = (0.5,) * self.shape[0]
        return Pool("noise", images, labels, images[:64], labels[:64], 10, half, half)


@dataclass(frozen=True)
class Case:
    """A training to be timed.

    Args:
        name: for the table.
        config: a shadow config.
        overrides: options behind it.
        sizes: fleets to time beside the one that is chosen.
        steps: of the whole training; 0 times trainings whole.
        measured: steps of an epoch as timed.
        repeats: of a training that is timed whole.
        note: what is extrapolated.
    """

    name: str
    config: Path
    overrides: tuple[str, ...]
    sizes: tuple[int, ...]
    steps: int = 0
    measured: int = 0
    repeats: int = 1
    note: str = ""

    @property
    def scale(self) -> float:
        """Whole trainings per measurement."""
        return self.steps / self.measured if self.steps else 1.0

    @property
    def argv(self) -> list[str]:
        """Options of both sides."""
        return ["--config", str(self.config), *self.overrides]


@dataclass(frozen=True)
class Side:
    """How fast one side is, each in several repeats."""

    per_minute: list[float]
    cpu_seconds: list[float]
    note: str = ""


def cases(quick: bool) -> list[Case]:
    """What is timed."""
    sizes: tuple[int, ...] = (1, 4) if quick else (1, 4, 8, 16, 32)
    repeats, epochs = (1, 10) if quick else (3, 30)
    enough = ("--data.n_shadows", "64", "--data.n_targets", "2", "--data.calibration_size", "64")
    name = f"small residual net, digits 8x8, {epochs} epochs"
    digits = (*enough, "--trainer.max_epochs", str(epochs), "--trainer.check_val_every_n_epoch", str(epochs))
    found = [Case(name, SHADOW / "digits.yaml", digits, sizes, repeats=repeats)]
    steps = 2 if quick else 8
    sizes = (1,) if quick else sizes
    for shape, members, epochs in (([1, 28, 28], 30_000, 30), ([3, 32, 32], 25_000, 30)):
        colour = shape[0] == 3
        net = {"num_classes": 10, "in_channels": shape[0], "stages": 3, "width": 16}
        overrides: tuple[str, ...] = ("--model.net", json.dumps({"class_path": SMALL, "init_args": net}))
        overrides += ("--data.mirror", str(colour).lower(), "--data.padding", "4" if colour else "2")
        found.append(
            synthetic("small residual net", "fashion_mnist.yaml", shape, steps, members, epochs, sizes, overrides)
        )
    if not quick:
        sizes = (1, 4, 8, 16, 32) if torch.cuda.is_available() else (1, 4)
        precision = ("--trainer.precision", "bf16-mixed") if torch.cuda.is_available() else ()
        steps = 16 if torch.cuda.is_available() else 1
        found.append(synthetic("ResNet-18", "cifar10.yaml", [3, 32, 32], steps, 25_000, 100, sizes, precision))
    return [_with_enough(case, enough) for case in found]


def _with_enough(case: Case, enough: tuple[str, ...]) -> Case:
    """A case whose study has models for the largest fleet."""
    return Case(**{**vars(case), "overrides": (*case.overrides, *enough)})


def synthetic(
    net: str,
    config: str,
    shape: list[int],
    measured: int,
    members: int,
    epochs: int,
    sizes: tuple[int, ...],
    overrides: tuple[str, ...],
) -> Case:
    """Epochs of a few steps, extrapolated to trainings on ``members`` examples in batches of 128."""
    noise = {"shape": shape, "pool_size": measured * 256}
    data = ("--data.dataset", json.dumps({"class_path": "fleet.Noise", "init_args": noise}))
    short = ("--trainer.max_epochs", str(EPOCHS), "--trainer.check_val_every_n_epoch", str(EPOCHS + 1))
    steps = -(-members // 128) * epochs
    note = f"{members:,} members x {epochs} epochs, extrapolated from {EPOCHS - 1} epochs of {measured} steps of 128"
    name = f"{net}, {shape[1]}x{shape[2]}"
    return Case(name, SHADOW / config, (*data, *overrides, *short), sizes, steps, measured, note=note)


def train_fleet(argv: list[str], whole: bool) -> dict[str, Any]:
    """Train a fleet; called in a worker.

    Returns:
        ``seconds`` and ``cpu``: of the whole, or of every epoch but the first; ``bytes``: peak memory of a GPU.
    """
    import lightning as L

    from lit_privq.cli import run_cli

    class Clock(L.Callback):
        """Looks at the clocks whenever an epoch ends."""

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append((time.perf_counter(), time.process_time()))

    times = [(time.perf_counter(), time.process_time())]
    cli = run_cli(argv, run=False)
    if not whole:
        cli.trainer.callbacks.append(Clock())  # type: ignore[attr-defined]  # Trainer does not declare it
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    if whole:
        times.append((time.perf_counter(), time.process_time()))
    seconds, cpu = (
        [after - before for before, after in itertools.pairwise(clock)] for clock in zip(*times, strict=True)
    )
    if not whole:
        seconds, cpu = seconds[1:], cpu[1:]
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {"seconds": seconds, "cpu": cpu, "bytes": peak}


def train_plain(argv: list[str], epochs: int, num_workers: int) -> dict[str, Any]:
    """Train one model by the plain loop, on the data and with the network of a config; called in a worker."""
    from plain_loop import train

    from lit_privq.classifier import build
    from lit_privq.cli import run_cli

    cli = run_cli(argv, run=False)
    data, net = cli.datamodule, build(cli.model.spec)
    return vars(train(data.pool, net, epochs, data.batch_size, data.padding, data.mirror, num_workers))


class Bench:
    """Times both sides of a case in fresh, warmed processes.

    Args:
        folder: for logs and checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ours(self, case: Case, size: int, jobs: int, workers: processes.WorkerPool) -> Side:
        """Fleets of one size, one per worker."""
        runs = []
        for _ in range(case.repeats):
            tasks = []
            for k in range(jobs):
                place = ["--trainer.default_root_dir", str(self.folder / f"worker{k}")]
                argv = [*case.argv, *place, "--data.model_index", f"{k * size}:{(k + 1) * size}"]
                tasks.append(("fleet:train_fleet", (argv, not case.steps)))
            runs.append(self._together(tasks, workers))
        epochs = [  # of all runs: (seconds, CPU seconds) of each worker
            list(zip(*workers, strict=True))
            for run in runs
            for workers in zip(*(zip(done["seconds"], done["cpu"], strict=True) for done in run), strict=True)
        ]
        models = size * jobs
        peak = max(done["bytes"] for run in runs for done in run)
        return Side(
            [60 * models / (max(seconds) * case.scale) for seconds, _ in epochs],
            [sum(cpu) * case.scale / models for _, cpu in epochs],
            f"peak {peak / 2**30:.1f} GiB" if peak else "",
        )

    def plain(self, case: Case) -> Side:
        """The better of two ways to load."""
        sides = []
        for num_workers in (0, 2):
            with processes.WorkerPool(1, {}) as worker:
                epochs = int(case.overrides[case.overrides.index("--trainer.max_epochs") + 1])
                warm = (case.argv, 1, num_workers)
                self._together([("fleet:train_plain", warm)], worker)
                call = (case.argv, epochs, num_workers)
                runs = [self._together([("fleet:train_plain", call)], worker)[0] for _ in range(case.repeats)]
            seconds, cpu = ("epoch", "epoch_cpu") if case.steps else ("seconds", "cpu")
            sides.append(
                Side(
                    [60 / (run[seconds] * case.scale) for run in runs],
                    [run[cpu] * case.scale for run in runs],
                    f"plain loop with {num_workers} loader processes",
                )
            )
        return max(sides, key=lambda side: statistics.median(side.per_minute))

    def rows(self, case: Case) -> list[Row]:
        """The rows of a case."""
        other = self.plain(case)
        with processes.WorkerPool(cores(), processes.WORKER) as workers:
            whole = ["--trainer.max_epochs", str(round(case.scale))] if case.steps else []  # not the few that are timed
            arguments = (str(case.config), [*case.overrides, *whole], None, None)
            chosen = self._together([("lit_privq.study.tasks:choose", arguments)], workers)[0]
            jobs = cores()
            warm = Case(**{**vars(case), "repeats": 1})
            self.ours(warm, 1, jobs, workers)
            sides = {size: self.ours(case, size, jobs, workers) for size in sorted({*case.sizes, chosen["size"]})}
        rows = [row for size, side in sides.items() for row in _rows(f"{case.name}, F = {size}", side, None, case.note)]
        note = "; ".join(filter(None, (case.note, other.note, f"auto: {chosen['why']}")))
        return [*rows, *_rows(f"{case.name}, fleet: auto = {chosen['size']}", sides[chosen["size"]], other, note)]

    def _together(self, tasks: Sequence[tuple[str, tuple[Any, ...]]], workers: processes.WorkerPool) -> list[Any]:
        """Call functions in workers side by side; what they return, in order."""
        for k, (function, arguments) in enumerate(tasks):
            workers.start(processes.Call(str(k), function, arguments, self.folder / f"{k}.log"))
        ended: dict[str, Any] = {}
        while len(ended) < len(tasks):
            for task, outcome in workers.wait(timeout=1.0):
                if outcome.error:
                    raise RuntimeError(f"{outcome.error}\n{task.log.read_text()[-2000:]}")
                ended[task.name] = outcome.value
        return [ended[str(k)] for k in range(len(tasks))]


def study_hours(rows: Sequence[Row]) -> Row:
    """How long one GPU needs for the paper's shadow models, by the ResNet-18 row that was measured on it."""
    what = "64 ResNet-18 x 100 epochs on CIFAR-100's 25,000 members, one GPU"
    rates = [row.ours for row in rows if row.case.startswith("ResNet-18") and "auto" in row.case and row.more_is_better]
    if not torch.cuda.is_available() or not rates or rates[0] is None:
        return Row(what, None, None, "h", note="not measured: no GPU here")
    note = f"extrapolated from measured steps of a 10-class head on {torch.cuda.get_device_name()}"
    return Row(what, 64 / rates[0] / 60, None, "h", note=note)


def _rows(name: str, ours: Side, other: Side | None, note: str) -> list[Row]:
    """Models per minute and CPU seconds per model."""
    pairs = [
        ("models/min", ours.per_minute, other.per_minute if other else []),
        ("CPU s/model", ours.cpu_seconds, other.cpu_seconds if other else []),
    ]
    return [
        Row(
            name,
            statistics.median(here),
            statistics.median(there) if there else None,
            unit,
            spread(here, there),
            more_is_better=unit == "models/min",
            note="; ".join(filter(None, (note, ours.note))) if other else ours.note,
        )
        for unit, here, there in pairs
    ]


def main() -> None:
    chosen = options(__doc__)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for case in cases(chosen.quick):
            rows += bench.rows(case)
    rows.append(study_hours(rows))
    show(rows, chosen.json)


if __name__ == "__main__":
    main()
