"""The commands that `wandb agent` makes of configs/sweep, understood and run without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_privq.cli import main, run_cli
from lit_privq.tracking.records import read_stage

ROOT = Path(__file__).parents[1]
SWEEPS = sorted((ROOT / "configs/sweep").glob("*.yaml"))


def arguments(sweep: dict[str, Any], at: int) -> Iterator[str]:
    """The words behind ``python -m lit_privq`` with each parameter's value at a place, as an agent writes them."""
    environment, interpreter, module, program, *rest = sweep["command"]
    assert (environment, interpreter, module, program) == ("${env}", "${interpreter}", "-m", "${program}")
    assert sweep["program"] == "lit_privq"
    for word in rest:
        if word == "${args}":
            for name, space in sweep["parameters"].items():
                values = space.get("values") or [space["min"], space["max"]]
                yield f"--{name}={values[at]}"
        else:
            yield word


@pytest.fixture
def with_our_models(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Options that put a tiny study in the place of the demo."""
    monkeypatch.chdir(ROOT)
    return {
        "--model.checkpoint": str(study / "checkpoints/none-32/{index:03d}.ckpt"),
        "--trainer.default_root_dir": str(tmp_path),
        "--data.model_index": "4",
    }


def ours(words: Iterator[str], options: dict[str, str]) -> list[str]:
    return [f"{name}={options.get(name, value)}" if value else name for name, _, value in map(parted, words)]


def parted(word: str) -> tuple[str, str, str]:
    return word.partition("=")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("at", [0, -1])
def test_a_sweeps_command_is_understood_with_the_values_at_either_end(
    path: Path, at: int, with_our_models: dict[str, str]
) -> None:
    sweep = yaml.safe_load(path.read_text())
    verb, *options = ours(arguments(sweep, at), with_our_models)
    assert verb == "fit"
    cli = run_cli(options, run=False)
    assert type(cli.model).__name__ == "Calibration"
    assert {type(callback).__name__ for callback in cli.trainer.callbacks} >= {"WandbRuns", "QuantizedUtility"}
    for name, space in sweep["parameters"].items():
        if name.startswith("model.method."):
            values = space.get("values") or [space["min"], space["max"]]
            assert getattr(cli.model.method, name.rpartition(".")[2]) == values[at]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweeps_command_runs_and_measures_what_the_sweep_compares(
    path: Path, with_our_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("callbacks.wandb_runs", "lit_privq.tracking.live"):
        monkeypatch.setattr(f"{module}.mode", lambda: "records")
    sweep = yaml.safe_load(path.read_text())
    main(ours(arguments(sweep, 0), with_our_models))
    (record,) = (tmp_path / "wandb/records").glob("*/004.quantize.jsonl")
    assert 0 < read_stage(record).summary[sweep["metric"]["name"]] < 1


def test_there_is_a_sweep_over_models_methods_and_bits_and_one_over_options() -> None:
    spaces = [set(yaml.safe_load(path.read_text())["parameters"]) for path in SWEEPS]
    assert {"data.model_index", "config", "model.bits"} in spaces
    assert any(all(name.startswith("model.method.") for name in space) for space in spaces)
