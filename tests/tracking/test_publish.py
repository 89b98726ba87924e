from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lit_privq.tracking.publish import publish
from tests.tracking.conftest import LEAKS
from tests.tracking.offline import OfflineRun, offline_runs

SECRET = "0123456789abcdef0123456789abcdef01234567"  # as long as a key of W&B


def publish_offline(root: Path) -> dict[str, OfflineRun]:
    """The runs of a study, read back from W&B's offline files; no id is found twice."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**given, "WANDB_MODE": "offline", "WANDB_API_KEY": SECRET, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-m", "lit_privq", "publish", str(root)], check=True, env=environment)
    return offline_runs(root)


@pytest.fixture
def published(finished: Path) -> dict[str, OfflineRun]:
    """The runs of a finished study."""
    return publish_offline(finished)


@pytest.mark.slow
def test_wandbs_files_hold_one_run_for_each_model_and_variant_and_one_for_the_study(
    published: dict[str, OfflineRun], finished: Path
) -> None:
    study = published.pop("little-study")
    assert len(published) == 3 * 6
    assert {(run.project, run.group, run.exit_code) for run in (study, *published.values())} == {
        ("lit_privq", "little", 0)
    }
    target = published["little-obc-2-017"]
    assert (target.job_type, target.name) == ("target", "obc-2-017")
    assert set(target.tags) == {"digits", "small", "default", "obc", "2 bits"}
    assert target.summary["audit/tpr_at_0.01"] == LEAKS["obc-2"][1]
    assert target.summary["audit/tpr_at_0.01/canaries"] == 3 * LEAKS["obc-2"][1]
    assert target.summary["unit/relative_error"] == 0.25
    assert target.config["attacker"] == "unaware"
    assert target.config["train"]["data"]["split_seed"] == 3
    trained = published["little-none-32-017"]
    assert [(row["epoch"], row["train/loss"]) for row in trained.history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert study.config["n_shadows"] == 16
    tables = [run for name, run in study.artifacts.items() if name.startswith("run-")]
    assert [table["type"] for table in tables] == ["run_table", "run_table"]
    for path in finished.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), f"a key in {path}"


@pytest.mark.slow
def test_artifacts_lead_from_the_split_to_the_audit(published: dict[str, OfflineRun]) -> None:
    artifacts = {name: found for run in published.values() for name, found in run.artifacts.items()}

    def source(name: str) -> Any:
        (found,) = artifacts[name]["metadata"]["made_from"]
        return found

    sources = artifacts["little-audit"]["metadata"]["made_from"]
    assert len(sources) == 3 * 6
    assert "little-confidences-obc-2-016" in sources
    assert source("little-confidences-obc-2-016") == "little-quantized_checkpoint-obc-2-016"
    assert source("little-quantized_checkpoint-obc-2-016") == "little-checkpoint-none-32-016"
    assert source("little-checkpoint-none-32-016") == "little-split"
    assert artifacts["little-confidences-obc-2-016"]["files"] == ["016.npz"]


@pytest.mark.slow
def test_publishing_again_makes_no_second_runs(published: dict[str, OfflineRun], finished: Path) -> None:
    assert publish_offline(finished).keys() == published.keys()
    assert len(list((finished / "wandb").glob("offline-run-*"))) == 1 + 3 * 6


@dataclass
class Artifact:
    """Stands for W&B's."""

    name: str
    type: str
    metadata: dict[str, Any]

    def add_reference(self, uri: str, name: str) -> None:
        assert uri.startswith("file:///")

    def wait(self) -> None:
        pass


class Online:
    """Stands for W&B with a network: notes who logs and uses what."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def open_run(self, root: Path, name: str, **options: Any) -> Any:
        online = self

        class Run:
            id, step, summary = name, 0, dict[str, Any]()

            def log(self, row: dict[str, Any], step: int | None = None) -> None:
                pass

            def log_artifact(self, artifact: Any) -> None:
                online.seen.append((name, "logs", artifact.name.removeprefix("little-")))

            def use_artifact(self, artifact: str) -> None:
                online.seen.append((name, "uses", artifact.removeprefix("little-")))

            def finish(self, exit_code: int = 0) -> None:
                online.seen.append((name, "ends", str(exit_code)))

        return Run()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Online:
    """W&B with a network."""
    online = Online()
    monkeypatch.setattr("lit_privq.tracking.publish.open_run", online.open_run)
    monkeypatch.setattr("lit_privq.tracking.publish._log_study", lambda *_: None)
    monkeypatch.setattr("wandb.Artifact", Artifact)
    return online


def test_online_every_run_uses_what_another_logged_before(finished: Path, online: Online) -> None:
    publish(finished, "online")
    logged: set[str] = set()
    for _, what, name in online.seen:
        if what == "uses":
            assert name.removesuffix(":latest") in logged
        logged |= {name} if what == "logs" else set()
    assert [step for step in online.seen if step[0] == "obc-2-016"] == [
        ("obc-2-016", "uses", "checkpoint-none-32-016:latest"),
        ("obc-2-016", "logs", "quantized_checkpoint-obc-2-016"),
        ("obc-2-016", "logs", "confidences-obc-2-016"),
        ("obc-2-016", "ends", "0"),
    ]
    assert len([step for step in online.seen if step[:2] == ("study", "uses")]) == 3 * 6


def test_in_a_sweep_there_is_the_studys_run_alone(
    finished: Path, online: Online, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert publish(finished, "online") == 1
    assert {name for name, *_ in online.seen} == {"study"}


def test_a_failure_ends_its_run_as_failed(finished: Path, online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_privq.tracking.publish.log_history", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(finished, "online")
    assert [step for step in online.seen if step[1] == "ends"] == [("none-32-000", "ends", "1"), ("study", "ends", "1")]
