from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lit_privq.artifacts import results as results_csv
from lit_privq.artifacts.measures import write_measures
from lit_privq.artifacts.results import COLUMNS, SLICE, Result, gather
from lit_privq.artifacts.variant import Variant
from lit_privq.audit.draws import with_draws
from lit_privq.audit.measure import Measure, PerTarget
from lit_privq.audit.summary import Summary
from lit_privq.export.packed import read_packed
from lit_privq.metrics import Influence, Noise

os.environ["WANDB_MODE"] = "disabled"  # no account, no network, no processes
os.environ.pop("LIT_PRIVQ_DATA", None)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors: threads cost more than they give, and other processes may be running."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def interruptible() -> None:
    """SIGINT ends what it is sent to, in every test and its child processes.

    A shell starts its background jobs with SIGINT ignored, and Lightning ignores it once a training was interrupted.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@pytest.fixture(scope="session")
def conf() -> Path:
    """Folder of the configs' tiny sisters."""
    return Path(__file__).parent / "conf"


@pytest.fixture(scope="session")
def size_without_card() -> Callable[[Path], int]:
    """Bytes of a packed file less its model card, which the sizes of reports leave out."""

    def size(path: Path) -> int:
        card = json.dumps(read_packed(path).about["card"], separators=(",", ":"))
        return path.stat().st_size - (len(json.dumps(f',"card":{card}')) - 2)  # a text within JSON

    return size


@pytest.fixture(scope="session")
def privq(conf: Path) -> Callable[..., None]:
    """Run a Lightning verb here: verb, config below ``conf``, output folder, further options."""

    def run(verb: str, config: str, folder: Path, *options: str) -> None:
        from lit_privq.cli import main  # here: seconds that most tests do not need

        main([verb, "--config", str(conf / config), "--trainer.default_root_dir", str(folder), *options])

    return run


@pytest.fixture(scope="session")
def study(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six models, quantized and queried; to be read, not written to."""
    folder = tmp_path_factory.mktemp("study")
    everyone = ("--data.model_index", "0:6")
    checkpoints = str(folder / "checkpoints" / "{variant}" / "{{index:03d}}.ckpt")
    parents = ("--model.checkpoint", checkpoints.format(variant="none-32"))
    bits = ("--model.bits", '[4, 1.58, {"*": 1.58, "last": 8}]')
    privq("fit", "shadow/digits.yaml", folder, *everyone)
    for method in ("nearest", "adaround"):
        privq("fit", f"ptq/{method}.yaml", folder, *everyone, *parents, *bits)
    for variant in ("none-32", "adaround-1.58"):
        path = checkpoints.format(variant=variant)
        privq("predict", "query/digits.yaml", folder, *everyone, "--ckpt_path", path, "--model.logits", "true")
    return folder


@pytest.fixture
def write_results(tmp_path: Path) -> Callable[..., Path]:
    """Write a results.csv of given rows (column: value) with sensible defaults."""
    model = {"dataset": "digits", "net": "small", "target": "16", "method": "none", "bits": "32", "last_bits": "32"}
    defaults: dict[str, object] = {**dict.fromkeys(COLUMNS, ""), **model}

    def write(*rows: dict[str, object]) -> Path:
        path = tmp_path / "results.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(defaults))
            writer.writeheader()
            writer.writerows(defaults | row for row in rows)
        return path

    return write


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[..., Path]:
    """Write results.csv and metrics.json of an audit with made-up numbers; returns their folder."""

    def write(
        leaks: Mapping[str, Sequence[float]],
        useful: Mapping[str, Sequence[float]] | None = None,
        *,
        noise: float = 0.002,
        metric: str = "tpr_at_0.01",
        slices: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        useful_slices: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        areas: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    ) -> Path:
        """One attack by one attacker.

        Args:
            leaks: by variant, full precision first, repeats behind what they repeat: each target's leakage.
            useful: by variant: each target's accuracy; None where nobody measured it.
            noise: standard deviation of what the examples of a target make of its leakage; 0 draws no resamples.
            metric: of leakage.
            slices: by name of the slice, leakage as in ``leaks``; thirty members each.
            useful_slices: by name of the slice, accuracy as in ``useful``.
            areas: by name of the slice, AUC of its members and its own non-members; if not given, as leakage.
        """
        random = np.random.default_rng(0)
        summary, rows = Summary([0.01]), list[Result]()
        everyone = SimpleNamespace(members=np.ones((1, 30), bool))
        summary.add_slices(everyone, dict.fromkeys(slices or {}, np.ones(30, bool)))  # type: ignore[arg-type]
        for name, values in leaks.items():
            variant, index = Variant.parse(name), range(16, 16 + len(values))
            found = _noisy(np.array(values), noise, random)
            parts = {part: _noisy(np.array(each[name]), noise, random) for part, each in (slices or {}).items()}
            measured = {Measure(metric, part): each for part, each in {"all": found, **parts}.items()}
            for part, each in (slices or {} if areas is None else areas).items():
                measured[Measure("auc", part, SLICE)] = _noisy(np.array(each[name]), noise, random)
            if not variant.repeat:
                summary.add(variant, "unaware", index, {"lira_online_fixed": measured})
            for what, each in measured.items():
                who = variant, "unaware", "lira_online_fixed", what.metric
                own = [_row(who, t, each, place) for place, t in enumerate(index)]
                rows += [row._replace(slice=what.slice, against=what.against) for row in own]
            if useful is not None:
                for part, values in {"all": useful, **(useful_slices or {})}.items():
                    accuracy = PerTarget(np.array(values[name]))
                    if not variant.repeat:
                        summary.add_utility(variant, index, {Measure("accuracy", part): accuracy}, {"accuracy": 0.1})
                    own = [_row((variant, "", "", "accuracy"), t, accuracy, place) for place, t in enumerate(index)]
                    rows += [row._replace(slice=part) for row in own]
        results_csv.write_results(tmp_path / "results.csv", rows)
        results = gather(rows)
        write_measures(tmp_path / "metrics.json", with_draws(summary.measures({}, results, {}), results))
        return tmp_path

    return write


def _noisy(estimates: NDArray[np.float64], noise: float, random: np.random.Generator) -> PerTarget:
    """Numbers with so much noise of their examples, independent of every other number's."""
    if not noise:
        return PerTarget(estimates)
    draws = random.normal(size=(len(estimates), 400))
    draws *= noise * 20 / draws.std(axis=1, ddof=1, keepdims=True)
    influences = tuple(Influence(row, np.zeros(2)) for row in draws)
    ends = tuple((value - 1.96 * noise, value + 1.96 * noise) for value in estimates.tolist())
    return PerTarget(estimates, ends, Noise(estimates, np.full(len(estimates), noise)), influences)


def _row(what: tuple[Variant, str, str, str], target: int, found: PerTarget, place: int) -> Result:
    variant, *names = what
    return Result("digits", "small", variant, target, *names, float(found.estimates[place]), *found.own_interval(place))
