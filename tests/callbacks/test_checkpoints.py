from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.fleet import Fleet

Privq = Callable[..., None]
EARLY = ("--data.model_index", "0:3", "--model.early", json.dumps({"short": 2, "shorter": 1}))


def checkpoints(folder: Path) -> dict[str, bytes]:
    """Every checkpoint below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.ckpt"))}


@pytest.fixture(scope="module")
def stopped(privq: Privq, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models whose training also wrote what it was after one and after two epochs."""
    folder = tmp_path_factory.mktemp("stopped")
    privq("fit", "shadow/digits.yaml", folder, *EARLY)
    return folder / "checkpoints"


@pytest.mark.parametrize(("name", "epochs"), [("short", 2), ("shorter", 1)])
def test_an_early_stop_is_the_training_of_so_many_epochs_byte_for_byte(
    privq: Privq, stopped: Path, tmp_path: Path, name: str, epochs: int
) -> None:
    options = ("--model.recipe", name, "--trainer.max_epochs", str(epochs))
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0:3", *options)
    alone = checkpoints(tmp_path / f"checkpoints/none-32@{name}")
    assert alone == checkpoints(stopped / f"none-32@{name}")
    assert len(alone) == 3


def test_early_stops_change_nothing_of_the_training_that_goes_on(privq: Privq, stopped: Path, tmp_path: Path) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0:3")
    assert checkpoints(tmp_path / "checkpoints") == {
        name: content for name, content in checkpoints(stopped).items() if name.startswith("none-32/")
    }


def test_an_early_stop_tells_its_recipe_and_its_own_accuracy(stopped: Path) -> None:
    early, whole = (read_checkpoint(stopped / name / "000.ckpt") for name in ("none-32@shorter", "none-32"))
    assert early["lit_privq"]["variant"] == "none-32@shorter"
    assert early["lit_privq"]["accuracy"] < whole["lit_privq"]["accuracy"]
    assert (early["epoch"], whole["epoch"]) == (1, 6)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_training_killed_before_or_after_a_stop_goes_on_to_the_same_files(
    privq: Privq, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    rest = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.callbacks.resume_seconds", "0")
    step = Fleet.training_step

    def fail(self: Fleet, *arguments: object) -> object:
        if self.current_epoch == epoch:
            raise RuntimeError("the power fails")
        return step(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Fleet, "training_step", fail)
        with pytest.raises(RuntimeError, match="the power fails"):
            privq("fit", "shadow/digits.yaml", tmp_path, *EARLY, *rest)
    assert (tmp_path / "checkpoints/none-32@short").is_dir() == (epoch >= 2)
    privq("fit", "shadow/digits.yaml", tmp_path, *EARLY, *rest)
    assert checkpoints(tmp_path / "checkpoints") == checkpoints(stopped)


@pytest.mark.parametrize("epochs", [0, 6, 7])
def test_a_stop_that_would_never_come_is_refused(privq: Privq, tmp_path: Path, epochs: int) -> None:
    early = ("--model.early", json.dumps({"late": epochs}))
    with pytest.raises(ValueError, match=f"before the last of 6; got {epochs} for late, correct model.early"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0", *early)
    assert not checkpoints(tmp_path)


def test_a_quantized_model_is_of_its_parents_recipe(privq: Privq, stopped: Path, tmp_path: Path) -> None:
    parent = ("--model.checkpoint", str(stopped / "none-32@short" / "{index:03d}.ckpt"))
    privq("fit", "ptq/nearest.yaml", tmp_path, "--data.model_index", "0:2", *parent, "--model.bits", "[4, 2]")
    assert [*checkpoints(tmp_path / "checkpoints")] == [
        f"nearest-{bits}@short/{model:03d}.ckpt" for bits in (2, 4) for model in (0, 1)
    ]
    queried = ("--ckpt_path", str(tmp_path / "checkpoints/nearest-2@short/{index:03d}.ckpt"))
    privq("predict", "query/digits.yaml", tmp_path, "--data.model_index", "0:2", *queried)
    assert sorted(path.name for path in tmp_path.glob("confidence/nearest-2@short/*")) == ["000.npz", "001.npz"]


def test_training_leaves_no_resume_checkpoint_and_no_part_of_a_file(study: Path) -> None:
    files = [path for path in (study / "checkpoints").rglob("*") if path.is_file()]
    assert len(files) == 6 * 7  # models, full precision and two methods at three precisions
    assert {path.suffix for path in files} == {".ckpt"}
    assert not [path for path in files if path.name.startswith(".")]
