from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lit_privq.tracking.records import StageRecord, read_stage, record_path
from tests.tracking.offline import offline_runs

WATCHED = ("--trainer.callbacks+", "callbacks.WandbRuns")
FEW = ("--data.model_index", "1:3", "--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "1", *WATCHED)


@dataclass
class Run:
    """Stands for a W&B run."""

    name: str
    options: dict[str, Any]
    step: int = 0
    logged: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an account."""
    for module in ("callbacks.wandb_runs", "lit_privq.tracking.live"):
        monkeypatch.setattr(f"{module}.mode", lambda: "records")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that are opened by a user with an account, in place of W&B's own."""
    opened: list[Run] = []

    def open_run(_: Path, name: str, **options: Any) -> Run:
        opened.append(Run(name, options))
        return opened[-1]

    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("lit_privq.tracking.live.open_run", open_run)
    return opened


def read(folder: Path, variant: str, model: int, stage: str) -> StageRecord:
    return read_stage(record_path(folder, variant, model, stage))


@pytest.mark.usefixtures("records")
def test_every_model_of_a_fleet_has_a_record_of_its_config_and_every_epoch(
    privq: Callable[..., None], tmp_path: Path
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    first, second = (read(tmp_path, "none-32", model, "train") for model in (1, 2))
    for record in (first, second):
        assert record.about == {"dataset": "digits", "net": "small_resnet-w4", "n_shadows": 4, "n_targets": 2}
        assert record.config["data"]["n_shadows"] == 4
        assert [row["epoch"] for row in record.history] == [0, 1]
        assert all(set(row) == {"epoch", "train/loss", "test/accuracy"} for row in record.history)
        assert record.summary == {name: record.history[-1][name] for name in ("train/loss", "test/accuracy")}
    assert first.history != second.history
    assert not list((tmp_path / "wandb").glob("*run*")), "W&B itself was not started"


@pytest.mark.usefixtures("records")
def test_a_calibration_records_its_units_for_each_variant_and_a_query_accuracy_and_size(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    parents = ("--model.checkpoint", str(study / "checkpoints/none-32/{index:03d}.ckpt"), "--model.bits", "[2, 4]")
    both = ("--data.model_index", "0:2", *WATCHED)
    privq("fit", "ptq/nearest.yaml", tmp_path, *parents, *both)
    coarse, fine = (read(tmp_path, f"nearest-{bits}", 1, "quantize") for bits in (2, 4))
    for record in (coarse, fine):
        errors = [row["unit/relative_error"] for row in record.history]
        assert len(errors) == 7
        assert record.summary["unit/relative_error"] == pytest.approx(sum(errors) / 7)
    assert fine.summary["unit/relative_error"] < coarse.summary["unit/relative_error"]
    made = ("--ckpt_path", str(tmp_path / "checkpoints/nearest-2/{index:03d}.ckpt"))
    privq("predict", "query/digits.yaml", tmp_path, *made, *both)
    query = read(tmp_path, "nearest-2", 1, "query")
    assert 0 < query.summary["test/accuracy"] < 1
    assert query.summary["size/bytes"] > 1000


def test_disabled_nothing_is_written(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


@pytest.mark.usefixtures("records")
def test_a_recipe_that_is_a_training_stopped_early_has_the_history_until_then(
    privq: Callable[..., None], tmp_path: Path
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW, "--model.early", "{short: 1}")
    whole, short = (read(tmp_path, f"none-32{recipe}", 2, "train") for recipe in ("", "@short"))
    assert len(whole.history) == 2
    assert short.history == whole.history[:1]
    assert short.summary["test/accuracy"] == short.history[0]["test/accuracy"]


@pytest.mark.usefixtures("records")
def test_a_trial_run_leaves_no_record(privq: Callable[..., None], tmp_path: Path) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW, "--trainer.fast_dev_run", "true")
    assert not (tmp_path / "wandb").exists()


def test_a_command_alone_logs_each_model_as_it_goes(
    privq: Callable[..., None], tmp_path: Path, runs: list[Run]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    assert [(run.name, run.exit_code, run.options["alone"]) for run in runs] == [
        ("none-32-001", 0, False), ("none-32-002", 0, False),
    ]  # fmt: skip
    for run in runs:
        assert [row["epoch"] for row in run.logged] == [0, 1]
        assert run.summary["test/accuracy"] == run.logged[-1]["test/accuracy"]
        assert run.options["group"] == tmp_path.name
    assert runs[0].logged != runs[1].logged


def test_with_a_run_id_of_an_agent_a_fleet_is_one_run_of_means(
    privq: Callable[..., None], tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    (run,) = runs
    assert run.options["alone"]
    losses = [read(tmp_path, "none-32", model, "train").history[1]["train/loss"] for model in (1, 2)]
    assert run.logged[1]["train/loss"] == pytest.approx(sum(losses) / 2)
    assert run.summary["test/accuracy"] == run.logged[1]["test/accuracy"]


def test_in_the_folder_of_a_study_nobody_but_the_study_opens_runs(
    privq: Callable[..., None], tmp_path: Path, runs: list[Run]
) -> None:
    (tmp_path / "study.json").write_text("{}")
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    assert runs == []
    assert len(read(tmp_path, "none-32", 1, "train").history) == 2


def test_a_training_that_fails_closes_its_runs_as_failed(
    privq: Callable[..., None], tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the power fails")

    monkeypatch.setattr("lit_privq.fleet.Fleet.training_step", fail)
    with pytest.raises(RuntimeError, match="the power fails"):
        privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    assert [run.exit_code for run in runs] == [1, 1]


@pytest.mark.parametrize("where", ["open_run", "log", "finish"])
def test_a_failure_of_wandb_at_any_moment_is_one_warning_and_costs_no_model(
    where: str,
    privq: Callable[..., None],
    tmp_path: Path,
    runs: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **options: object) -> None:
        raise ConnectionError("the network is gone")

    place = "lit_privq.tracking.live.open_run" if where == "open_run" else f"{__name__}.Run.{where}"
    monkeypatch.setattr(place, fail)
    privq("fit", "shadow/digits.yaml", tmp_path, *FEW)
    (said,) = [record.message for record in caplog.records if "Biases failed" in record.message]
    assert said.startswith("Weights & Biases failed (the network is gone), and this command goes on without it")
    assert said.endswith(f"`python -m lit_privq publish {tmp_path}` uploads them later")
    assert len(list((tmp_path / "checkpoints/none-32").iterdir())) == 2
    assert len(read(tmp_path, "none-32", 2, "train").history) == 2


SLOW = """
import sys, time
from lit_privq.classifier import ShadowTraining
from lit_privq.cli import main

end_epoch = ShadowTraining.end_epoch

def slowly(self, losses):
    if self.current_epoch == 3:
        print("in the fourth epoch", flush=True)
        time.sleep(600)
    end_epoch(self, losses)

if sys.argv.pop() == "slowly":
    ShadowTraining.end_epoch = slowly
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_training_keeps_its_history_and_goes_on_in_the_same_runs(conf: Path, tmp_path: Path) -> None:
    folder = ("--trainer.default_root_dir", str(tmp_path), "--data.model_index", "0:2", *WATCHED)
    config = tmp_path / "shadow.yaml"
    text = (conf / "shadow/digits.yaml").read_text().replace("../data", str(conf / "data"))
    often = "- {class_path: callbacks.WriteCheckpoints, init_args: {resume_seconds: 0}}"
    config.write_text(text.replace("- callbacks.WriteCheckpoints", often))
    environment = {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SLOW, "fit", "--config", str(config), *folder]
    with subprocess.Popen([*command, "slowly"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert any("in the fourth epoch" in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert [row["epoch"] for row in read(tmp_path, "none-32", 1, "train").history] == [0, 1, 2]
    subprocess.run([*command, "whole"], check=True, env=environment, stdout=subprocess.DEVNULL)
    found = offline_runs(tmp_path)  # which finds no id twice
    assert list(found) == [f"{tmp_path.name}-none-32-000", f"{tmp_path.name}-none-32-001"]
    for run in found.values():
        assert [row["epoch"] for row in run.history] == [0, 1, 2, 3, 4, 5]
