"""A study whose jobs only write small files, so that the engine is tested without training."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from lit_privq.study.command import Hooks, main

CONFIGS = {
    "data/tiny.yaml": "n_shadows: 4\n",
    "shadow/tiny.yaml": """
        data: ../data/tiny.yaml
        model: {class_path: Classifier, init_args: {net: {class_path: lit_privq.models.small.small_resnet}}}
        """,
    "ptq/nearest.yaml": "model: {class_path: Calibration, init_args: {method: {class_path: own_method.Nearest}}}\n",
    "ptq/adaround.yaml": "model: {class_path: Calibration}\n",
    "query/tiny.yaml": "data: ../data/tiny.yaml\n",
    "audit/tiny.yaml": "attacks: []\n",
    "study/tiny.yaml": """
        name: tiny
        shadow: ../shadow/tiny.yaml
        query: ../query/tiny.yaml
        audit: ../audit/tiny.yaml
        n_shadows: 4
        n_targets: 2
        split_seed: 3
        seed: 5
        fleet: 3
        quantize:
          - {method: ../ptq/nearest.yaml, bits: [4, 1.58]}
          - {method: ../ptq/adaround.yaml, bits: [2, {"*": 1.58, "last": 8}], adaptive: false}
        """,
}

FAKE_RUN = '''
"""Writes what the real commands would write: files that depend on the command and on what it reads."""

import hashlib, json, os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent


def run(argv):
    obey(argv)
    with (HERE / "calls.txt").open("a") as calls:
        calls.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {' '.join(argv)}\\n")
    print("the fake ran", argv[0])
    verb, option = argv[0], dict(zip(argv[1::2], argv[2::2]))
    if verb == "report":
        content = (Path(argv[1]) / "results.csv").read_text()
        return [write(Path(argv[1]) / name, content) for name in ("report.html", "figures/one.svg", "figures/two.svg")]
    if verb == "audit":
        root = Path(option["--output"])
        content = "".join(path.read_text() for path in sorted((root / "confidence").glob("*/*.npz")))
        variants = [path.name for path in (root / "confidence").iterdir()]
        names = [f"audit/{v}/{attacker}.npz" for v in variants for attacker in ("unaware", "adaptive")]
        return [write(root / name, content) for name in ("results.csv", "metrics.json", "vulnerability.npz", *names)]
    root = Path(option["--trainer.default_root_dir"])
    parent = option.get("--model.checkpoint") or option.get("--ckpt_path")
    start, stop = map(int, option["--data.model_index"].split(":"))
    for index in range(start, stop):
        content = Path(parent.format(index=index)).read_text() if parent else "weights"
        config = Path(option["--config"]).read_text()
        for folder in folders(verb, option):
            if index == start and "--diverge" in option:
                write(root / f"{folder.format(index=index)}.diverged", "nan")
                continue
            write(root / folder.format(index=index), f"{content} {folder} {config} {option.get('--seed_everything')}")


    if "--diverge" in option:
        from lit_privq.artifacts.diverged import Diverged

        raise Diverged(f"model {start} holds NaN", [start])


def folders(verb, option):
    if verb == "predict":
        return ["confidence/" + Path(option["--ckpt_path"]).parent.name + "/{index:03d}.npz"]
    if "--model.bits" not in option:
        early = json.loads(option.get("--model.early", "{}"))
        names = [option.get("--model.recipe", ""), *early]
        return [f"checkpoints/none-32{'@' * bool(name)}{name}/{{index:03d}}.ckpt" for name in names]
    method, (_, at, recipe) = option["--model.name"], Path(option["--model.checkpoint"]).parent.name.partition("@")
    bits = [b if isinstance(b, dict) else {"*": b} for b in json.loads(option["--model.bits"])]
    names = [f"{b['*']:g}-last{b['last']:g}" if "last" in b else f"{b['*']:g}" for b in bits]
    return [f"checkpoints/{method}-{name}{at}{recipe}/{{index:03d}}.ckpt" for name in names]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")  # as the real ones; a killed worker leaves it
    unfinished.write_text(hashlib.sha256(content.encode()).hexdigest())
    unfinished.replace(path)


def obey(argv):
    """Misbehave as the test asks: the orders are a list of [part of the command, what to do], each carried out once."""
    orders = HERE / "orders.json"
    for order in json.loads(orders.read_text()) if orders.exists() else []:
        done = HERE / ("done-" + hashlib.sha256(json.dumps(order).encode()).hexdigest()[:8])
        if order[0] in " ".join(argv) and not done.exists():
            if "always" not in order[1]:
                done.touch()
            if order[1] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if order[1] == "leave a part":
                folder = Path(dict(zip(argv[1::2], argv[2::2]))["--trainer.default_root_dir"]) / "confidence/nearest-4"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f".000.npz.{os.getpid()}.part").write_text("half of it")
                os.kill(os.getpid(), signal.SIGKILL)
            if order[1] == "nap":
                time.sleep(3)
            if order[1] == "wait":
                (HERE / "waiting.txt").touch()
                while not (HERE / "go.txt").exists():
                    time.sleep(0.05)
            if order[1] == "sleep":
                (HERE / "sleeping.txt").write_text(str(os.getpid()))
                time.sleep(600)
            if order[1] in ("fail", "always fail"):
                raise RuntimeError("the device is on fire")
            if order[1] == "refuse":
                raise ValueError("padding must be 0; got 7, set it to 0")
            if order[1] == "exit":
                print("usage: [-h]\\nerror: padding must be 0;\\n  got 7, set it to 0", file=sys.stderr)
                raise SystemExit(2)
            if "diverge" in order[1]:
                argv += ["--diverge", "1"]
            if order[1] == "full":
                raise OSError(28, "No space left on device")
            if order[1] == "terminate":
                raise type("SIGTERMException", (SystemExit,), {})
            if order[1] == "forget":
                argv[:] = ["report", str(HERE)]
                (HERE / "results.csv").touch()


def note(file, text):
    with (HERE / file).open("a") as notes:
        notes.write(text)


def choose(shadow, overrides, fleet, jobs, measured=False):
    note("chosen.txt", "chosen ")
    return {"jobs": 2, "size": fleet or 3, "how": "grouped", "why": "measured", "step_seconds": 0.5, "steps": 60}


def facts(study, overrides):
    note("facts.txt", "asked ")
    if (HERE / "unfit.txt").exists():
        raise ValueError("adaround.yaml cannot quantize this network: it has no layers")
    titles = {row.name: row.name.title() for row in study.quantize}
    recipes = [study.trained(name).recipe for name in study.recipe_names]
    sizes = {"float_bytes": dict.fromkeys(recipes, 40_000_000), "code_bytes": dict.fromkeys(recipes, 10_000_000)}
    return {"dataset": "Tiny", "net": "small_resnet", "titles": titles, "examples": 60_000, **sizes}
'''


HOOKS = Hooks(run="fake_run:run", choose="fake_run:choose", facts="fake_run:facts")


@dataclass(frozen=True)
class Bench:
    """A folder with configs, a fake runner and the results of a study.

    Args:
        folder: holds all of it.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The study file."""
        return self.folder / "configs/study/tiny.yaml"

    @property
    def output(self) -> Path:
        """Where the study writes."""
        return self.folder / "runs"

    @property
    def argv(self) -> list[str]:
        """Options of the study."""
        return ["--config", str(self.config), "--output", str(self.output), "--jobs", "2"]

    def study(self, *more: str) -> None:
        """Run the study here."""
        main([*self.argv, *more], HOOKS)

    def start(self, *more: str) -> "subprocess.Popen[str]":
        """Run the study in a process of its own, and in a process group of its own as a terminal would."""
        program = (
            "import sys; from lit_privq.study.command import Hooks, main; "
            "main(sys.argv[1:], Hooks('fake_run:run', 'fake_run:choose', 'fake_run:facts'))"
        )
        command = [sys.executable, "-c", program, *self.argv, *more]
        paths = [str(self.folder), *(path for path in sys.path if path)]
        return subprocess.Popen(
            command,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def order(self, *orders: Sequence[str]) -> None:
        """Make the fake misbehave: (part of a command, what to do), each once."""
        (self.folder / "orders.json").write_text(json.dumps(orders))

    def calls(self) -> list[str]:
        """Commands that ran to their end, without the process they ran in."""
        path = self.folder / "calls.txt"
        return [line.split(" ", 2)[2] for line in path.read_text().splitlines()] if path.exists() else []

    def records(self) -> list[dict[str, Any]]:
        """Lines of the ledger that can be read."""
        records = []
        for line in (self.output / "jobs.jsonl").read_text().splitlines() if self.output.exists() else []:
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    def results(self) -> dict[str, str]:
        """Every result of the study, by path."""
        files = [
            p
            for pattern in ("*.html", "*.csv", "*.npz", "c*/*/*", "audit/*/*", "figures/*")
            for p in self.output.glob(pattern)
            if p.suffix != ".part"  # of a worker killed amid writing; the next start removes it
        ]
        return {str(path.relative_to(self.output)): path.read_text() for path in files}

    def change(self, config: str, old: str, new: str) -> None:
        """Replace a part of a config, or of another file of the bench."""
        path = self.folder / ("configs" if config.endswith(".yaml") else "") / config
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def add_recipes(self) -> None:
        """A second recipe, and the first one stopped early; one method quantizes all of them."""
        shadow = (self.folder / "configs/shadow/tiny.yaml").read_text()
        (self.folder / "configs/shadow/smooth.yaml").write_text(shadow.replace("small_resnet", "perceptron"))
        recipes = "{name: plain, shadow: ../shadow/tiny.yaml, early: {short: 10}}, "
        recipes += "{name: smooth, shadow: ../shadow/smooth.yaml, title: Label smoothing}"
        self.change("study/tiny.yaml", "shadow: ../shadow/tiny.yaml", f"recipes: [{recipes}]")
        self.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], recipes: [plain, short, smooth]")


@pytest.fixture
def new_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bench]:
    """Make a bench in a folder of its own."""

    def make(name: str) -> Bench:
        folder = tmp_path / name
        for config, text in CONFIGS.items():
            path = folder / "configs" / config
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        (folder / "fake_run.py").write_text(FAKE_RUN)
        (folder / "own_method.py").write_text("class Nearest: pass\n")
        return Bench(folder)

    return make


SECRET = "0123456789abcdef0123456789abcdef01234567"  # as long as a key of W&B


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A key in the environment from here on, and a check that no file in a folder holds it."""
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_MODE", "offline")

    def check(folder: Path) -> None:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        assert not [path for path in files if SECRET.encode() in path.read_bytes()], "a key lies about"

    return check


@pytest.fixture
def bench(new_bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose runner can be imported, here and in workers."""
    bench = new_bench("bench")
    monkeypatch.syspath_prepend(str(bench.folder))
    return bench
