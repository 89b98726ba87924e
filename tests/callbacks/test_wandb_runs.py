from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

QUIET = ("--trainer.callbacks+", "callbacks.WandbRuns")


@dataclass
class Run:
    """Stands for a W&B run."""

    folder: Path
    name: str
    stage: str
    config: dict[str, Any]
    project: str
    group: str | None
    logged: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that are opened, in place of W&B's own."""
    opened: list[Run] = []

    def open_run(*arguments: Any) -> Run:
        opened.append(Run(*arguments))
        return opened[-1]

    monkeypatch.setattr("callbacks.wandb_runs.open_run", open_run)
    return opened


def test_every_model_of_a_fleet_is_a_run_with_its_own_metrics_of_every_epoch(
    privq: Callable[..., None], tmp_path: Path, runs: list[Run]
) -> None:
    few = ("--data.model_index", "1:3", "--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "1")
    privq("fit", "shadow/digits.yaml", tmp_path, *few, *QUIET)
    assert [(run.name, run.stage, run.exit_code) for run in runs] == [
        ("train-001", "train", 0), ("train-002", "train", 0)
    ]  # fmt: skip
    assert [run.config["model_index"] for run in runs] == [1, 2]
    assert all(run.config["data"]["n_shadows"] == 4 for run in runs), runs[0].config
    for run in runs:
        assert [values["epoch"] for values in run.logged] == [0, 1]
        assert all(set(values) == {"epoch", "loss", "accuracy"} for values in run.logged)
    assert runs[0].logged != runs[1].logged


def test_a_calibration_logs_the_errors_of_its_units(
    privq: Callable[..., None], study: Path, tmp_path: Path, runs: list[Run]
) -> None:
    parents = ("--model.checkpoint", str(study / "checkpoints/none-32/{index:03d}.ckpt"), "--model.bits", "[2, 4]")
    privq("fit", "ptq/nearest.yaml", tmp_path, *parents, "--data.model_index", "0:2", *QUIET)
    assert [run.name for run in runs] == ["quantize-nearest-000", "quantize-nearest-001"]
    for run in runs:
        table = run.logged[-1]["units"]
        assert "error" in table.columns
        assert len(table.data) == 7 * 2  # units and precisions
        assert run.exit_code == 0


def test_a_query_logs_the_accuracy_and_a_failure_closes_the_runs(
    privq: Callable[..., None], study: Path, tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = ("--ckpt_path", str(study / "checkpoints/none-32/{index:03d}.ckpt"), "--data.model_index", "0:2")
    privq("predict", "query/digits.yaml", tmp_path, *checkpoints, *QUIET)
    assert [(run.name, run.stage) for run in runs] == [("query-none-32-000", "query"), ("query-none-32-001", "query")]
    assert all(0 < run.logged[0]["accuracy"] < 1 for run in runs)
    runs.clear()

    def fail(*_: object) -> None:
        raise RuntimeError("the power fails")

    monkeypatch.setattr("lit_privq.fleet.Fleet.training_step", fail)
    with pytest.raises(RuntimeError, match="the power fails"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0:2", *QUIET)
    assert [run.exit_code for run in runs] == [1, 1]
