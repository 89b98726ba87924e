"""Test accuracy of every quantizer at 4, 2, 1.58 and 1 bits on a CIFAR-100 network that is trained here.

python benchmarks/accuracy.py --root DATA --output FOLDER [--methods NAME ...] [--quick]

The network is that of accuracy.yaml: half of the pool, images area-averaged to 16x16. It is quantized on 1024 of its
members, all layers, by ``fit`` with files of configs/ptq, all precisions of a method in one run, and measured as it
is and with batch norms tuned on 100 batches of calibration images; then each is exported. One thread; seconds are CPU
seconds of this process. What a killed run left in FOLDER is not made again. Three and a half hours for all
methods, most of them AdaRound's and BRECQ's.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rows import hardware

from lit_privq.artifacts.checkpoint import network_of, read_checkpoint, write_checkpoint
from lit_privq.artifacts.variant import Variant
from lit_privq.calibration import Bits, Calibration
from lit_privq.cli import PrivqCLI, run_cli
from lit_privq.commit import commit
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.export import command as export

HERE = Path(__file__).parent
PTQ = HERE.parent / "configs/ptq"
BITS = (4, 2, 1.58, 1)
LAST = (1.58, 1)  # rows with the last layer at 8 bits


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        name: of the row, and of its checkpoints.
        config: a file of configs/ptq.
        options: behind it, as on the command line.
        bits: precisions of all layers.
        last: precisions of all layers but the last, which has 8 bits.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    bits: tuple[float, ...] = BITS
    last: tuple[float, ...] = ()

    @property
    def precisions(self) -> list[Bits]:
        """All of them, for one run."""
        return [*self.bits, *({"*": bits, "last": 8.0} for bits in self.last)]


def methods(most: int) -> list[Method]:
    """All rows; at most so many iterations."""
    set_method = "--model.method.init_args."
    originals, fewer, fewest = ((f"{set_method}iterations", str(min(most, count))) for count in (20_000, 4000, 2000))
    low = (2.0, 1.58)
    sequential = (f"{set_method}inputs", "quantized")
    no_tuning = ("--model.batch_norm_batches", "0")  # the tuned twin of each checkpoint is made from it
    return [
        Method("nearest", "nearest.yaml"),
        Method("nearest_by_output", "nearest_by_output.yaml"),
        Method("sign", "sign.yaml", bits=(1,)),
        Method("bwn", "bwn.yaml", bits=(1,)),
        Method("gptq", "gptq.yaml", last=LAST),
        Method("gptq_sequential", "gptq.yaml", sequential),
        Method("obc", "obc.yaml", no_tuning, last=LAST),
        Method("obc_sequential", "obc_sequential.yaml", no_tuning),
        Method("adaround", "adaround.yaml", fewest),
        Method("adaround_20000", "adaround.yaml", originals, bits=low),
        Method("adaround_short", "adaround_short.yaml", fewer, bits=low),
        Method("brecq", "brecq.yaml", fewest),
        Method("brecq_20000", "brecq.yaml", originals, bits=low),
        Method("brecq_short", "brecq_short.yaml", fewer, bits=low),
        Method("brecq_fisher", "brecq_fisher.yaml", fewest, bits=low),
        Method("descent", "descent.yaml", last=LAST),
        Method("adaround_descent", "adaround_descent.yaml", fewest),
        Method("brecq_descent", "brecq_descent.yaml", fewest),
    ]


@dataclass(frozen=True)
class Measured:
    """One method at one precision: test accuracies as fractions, CPU seconds, and the size of the exported file."""

    method: str
    variant: str
    accuracy: float
    tuned: float
    seconds: float
    tuning_seconds: float
    bytes: int


class Bench:
    """Trains, quantizes and measures below one folder; what is there already is kept.

    Args:
        root: folder of the data set.
        output: for checkpoints, exported files and ``rows/<method>.json``.
        quick: a few examples, steps and calibration images, to see that everything runs.
    """

    def __init__(self, root: str, output: Path, quick: bool) -> None:
        self.root, self.output, self.quick = root, output, quick
        self.trained = output / "checkpoints/none-32/000.ckpt"

    def train(self) -> str:
        """Train the network, and say how good it is, how large, and what it cost."""
        if not self.trained.is_file():
            small = ("--data.dataset.init_args.source.init_args.pool_size", "600", "--data.calibration_size", "32")
            short = ("--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1")
            cli = self._cli(str(HERE / "accuracy.yaml"), *((*small, *short) if self.quick else ()))
            taken = cpu_seconds(lambda: cli.trainer.fit(cli.model, datamodule=cli.datamodule))
            (self.output / "seconds").write_text(f"{taken:.0f}", encoding="utf-8")
        made = read_checkpoint(self.trained)["lit_privq"]
        cost = (self.output / "seconds").read_text(encoding="utf-8")
        return f"full precision: {100 * made['accuracy']:.1f} %, {made['size_bytes']:,} bytes, {cost} CPU-s of training"

    def measure(self, method: Method) -> list[Measured]:
        """The rows of a method."""
        record = self.output / f"rows/{method.name}.json"
        if record.is_file():
            return [Measured(**row) for row in json.loads(record.read_text(encoding="utf-8"))]
        rows = self._quantize(method)
        record.parent.mkdir(exist_ok=True)
        partial = record.with_suffix(".part")
        partial.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")
        partial.replace(record)
        return rows

    def _quantize(self, method: Method) -> list[Measured]:
        """Quantize at all precisions at once, tune the batch norms of copies, and look at both."""
        options = ("--model.checkpoint", str(self.trained), "--model.bits", json.dumps(method.precisions))
        plain = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.accelerator", "cpu")
        cli = self._cli(str(PTQ / method.config), *options, *plain, "--model.name", method.name, *method.options)
        calibration, data = cli.model, cli.datamodule
        assert isinstance(calibration, Calibration)
        taken = cpu_seconds(lambda: cli.trainer.fit(calibration, datamodule=data)) / len(method.precisions)
        calibration.batch_norm_batches = 3 if self.quick else 100
        folder = self.output / "checkpoints_tuned"
        tuning = cpu_seconds(lambda: [write_checkpoint(folder, one) for one in calibration.checkpoints()])
        rows = []
        for bits in method.precisions:
            variant = Variant.of(method.name, bits).name
            path = self.output / f"checkpoints/{variant}/000.ckpt"
            packed = self.output / f"packed/{variant}.safetensors"
            export.main(["--ckpt", str(path), "--output", str(packed)])
            accuracies = test_accuracy(path, data), test_accuracy(folder / variant / "000.ckpt", data)
            cost = taken, tuning / len(method.precisions)
            rows.append(Measured(method.name, variant, *accuracies, *cost, packed.stat().st_size))
        return rows

    def _cli(self, config: str, *options: str) -> PrivqCLI:
        """What ``fit`` with these options would run."""
        places = ("--data.root", self.root, "--trainer.default_root_dir", str(self.output))
        argv = ["--config", config, *places, *options]
        print(f"$ python -m lit_privq fit {' '.join(argv)}", flush=True)
        return run_cli(argv, run=False)


@torch.no_grad()
def test_accuracy(path: Path, data: ShadowDataModule) -> float:
    """Share of the test set that the network in a checkpoint gets right."""
    net, right = network_of(read_checkpoint(path), path), 0
    sampler = data.batch_maker("test", torch.device("cpu"))
    for chosen in data.test_dataloader():
        images, labels = sampler.batch(chosen)
        right += int((net(images).argmax(1) == labels).sum())
    return right / len(data.pool.test_labels)


def cpu_seconds(run: Callable[[], object]) -> float:
    """Of this process, while something runs."""
    start = time.process_time()
    run()
    return time.process_time() - start


def table(rows: list[Measured]) -> str:
    """Accuracies in percent, without / with tuning; a method's last layer at 8 bits is a row of its own."""
    lines = ["| method | " + " | ".join(f"{bits:g} bits" for bits in BITS) + " | CPU-s a precision | CPU-s of tuning |"]
    lines.append("|---" * (len(BITS) + 3) + "|")
    groups: dict[str, list[Measured]] = {}
    for row in rows:
        last = ", last layer 8 bits" if row.variant.endswith("-last8") else ""
        groups.setdefault(f"{row.method}{last}", []).append(row)
    for name, group in groups.items():
        by_bits = {row.variant.removeprefix(f"{row.method}-").removesuffix("-last8"): row for row in group}
        found = [by_bits.get(f"{bits:g}") for bits in BITS]
        cells = [f"{100 * row.accuracy:.1f} / {100 * row.tuned:.1f}" if row else "" for row in found]
        lines.append(f"| {name} | {' | '.join(cells)} | {group[0].seconds:.0f} | {group[0].tuning_seconds:.0f} |")
    return "\n".join(lines)


def sizes(rows: list[Measured]) -> str:
    """Bytes of the exported files of one method's rows."""
    return "; ".join(f"{row.variant} {row.bytes:,} bytes" for row in rows)


def options() -> argparse.Namespace:
    """The command line."""
    names = [method.name for method in methods(0)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=os.environ.get("LIT_PRIVQ_DATA", "datasets"), help="holds cifar-100-python")
    parser.add_argument("--output", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--methods", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    if not (Path(chosen.root) / "cifar-100-python").is_dir():
        print(f"not measured: no cifar-100-python in {chosen.root}; set --root")
        return
    chosen.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen.root, chosen.output, chosen.quick)
    trained, rows = bench.train(), list[Measured]()
    print(trained, flush=True)
    for method in methods(10 if chosen.quick else 20_000):
        if method.name in chosen.methods:
            rows += bench.measure(method)
            print(f"\n{table(rows)}\n\n{sizes(rows)}\n", flush=True)
    print(f"{hardware()}; commit {commit() or 'unknown'}; {trained}")


if __name__ == "__main__":
    main()
