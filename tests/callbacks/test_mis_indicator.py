from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks import MisIndicator
from callbacks import checkpoints as checkpoints_module
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.classifier import Classifier
from lit_privq.data.task import Classification
from lit_privq.indicator.network import Examples, codebooks, layers_of, network_runs
from lit_privq.indicator.quantizers import Quantizer
from lit_privq.indicator.runs import read_runs
from lit_privq.indicator.shadows import ShadowRuns, read_shadows
from lit_privq.quantization.grid import MinMax
from lit_privq.quantization.nearest import Nearest

WATCHED = ("--trainer.callbacks+=callbacks.MisIndicator",)
FEW = (*WATCHED, "--trainer.callbacks.snapshots", "5", "--trainer.callbacks.every", "2")
DOUBLE = ("--trainer.precision", "64-true")  # so that sums in another order round to the same codes
SHORT = ("--trainer.max_epochs", "3", "--trainer.limit_val_batches", "0")


def runs(folder: Path, model: int) -> ShadowRuns:
    return read_runs(folder / f"indicator/{model:03d}.npz", ShadowRuns)


@pytest.fixture(scope="module")
def fleet(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    privq("fit", "shadow/digits.yaml", folder, "--data.model_index", "1:4", *FEW, *DOUBLE)
    return folder


def test_a_model_of_a_fleet_leaves_the_indicator_that_it_leaves_alone(
    privq: Callable[..., None], fleet: Path, tmp_path: Path
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "2", *FEW, *DOUBLE)
    mine, alone = runs(fleet, 2), runs(tmp_path, 2)
    assert (mine.meta, mine.quantizers, mine.models.tolist()) == (alone.meta, alone.quantizers, [2])
    for name in ("codes", "distinct", "best"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(alone, name))
    # 24 steps of float64 sums in another order
    np.testing.assert_allclose(mine.gap_mean, alone.gap_mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mine.r, alone.r, rtol=1e-5)
    assert mine.train_score == alone.train_score


def test_every_model_of_a_fleet_has_its_file_and_nothing_else_is_left(fleet: Path) -> None:
    assert sorted(path.name for path in (fleet / "indicator").iterdir()) == ["001.npz", "002.npz", "003.npz"]
    found = read_shadows(fleet / "indicator")
    assert found is not None
    assert (found.snapshots, found.meta["every"], found.meta["net"]) == (5, 2, "small_resnet-w4")
    assert {part.n for part in (runs(fleet, model) for model in (1, 2, 3))} <= {30, 31}
    assert found.n == 30


def test_the_last_snapshot_is_the_checkpoint(fleet: Path) -> None:
    path = fleet / "checkpoints/none-32/003.ckpt"
    net = network_of(read_checkpoint(path), path).double()
    final = {name: layer.weight.detach() for name, layer in layers_of(net).items()}
    examples = Examples(torch.zeros(2, 1, 8, 8).double(), torch.zeros(2).long(), Classification(10))
    (books,) = codebooks(net, [final], MisIndicator().quantizers)
    again = network_runs(net, [final, final], books, examples, examples, 3, {"n": 1})
    np.testing.assert_array_equal(again.codes, runs(fleet, 3).codes)


def test_watching_a_training_does_not_change_it(privq: Callable[..., None], tmp_path: Path) -> None:
    for where, options in (("watched", FEW), ("plain", ())):
        privq("fit", "shadow/digits.yaml", tmp_path / where, "--data.model_index", "0:2", *SHORT, *options)
    watched, plain = (
        torch.load(tmp_path / where / "checkpoints/none-32/001.ckpt", weights_only=True)["state_dict"]
        for where in ("watched", "plain")
    )
    assert all(torch.equal(value, plain[name]) for name, value in watched.items())


@pytest.fixture
def interrupted(privq: Callable[..., None], tmp_path: Path) -> Callable[..., Path]:
    """Begin the training of model 1 and break it off in its last epoch; returns its folder."""

    def begin(*options: str) -> Path:
        step = Classifier.training_step

        def fail(self: Classifier, *arguments: object) -> object:
            if self.current_epoch == 2:
                raise RuntimeError("the power fails")
            return step(self, *arguments)  # type: ignore[arg-type]

        rest = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.callbacks.resume_seconds", "0")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Classifier, "training_step", fail)
            with pytest.raises(RuntimeError, match="the power fails"):
                privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "1", *rest, *SHORT, *options)
        return tmp_path

    return begin


def test_an_interrupted_training_goes_on_to_the_same_indicator(
    privq: Callable[..., None], interrupted: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, whole = interrupted(*FEW), tmp_path_factory.mktemp("whole")
    assert not (folder / "indicator").exists()
    for where in (folder, whole):
        privq("fit", "shadow/digits.yaml", where, "--data.model_index", "1", *SHORT, *FEW)
    assert (folder / "indicator/001.npz").read_bytes() == (whole / "indicator/001.npz").read_bytes()


def test_a_training_that_was_not_watched_from_the_first_snapshot_on_leaves_no_indicator(
    privq: Callable[..., None], interrupted: Callable[..., Path]
) -> None:
    folder = interrupted()
    with pytest.warns(UserWarning, match="no indicator is written"):
        privq("fit", "shadow/digits.yaml", folder, "--data.model_index", "1", *SHORT, *FEW)
    assert (folder / "checkpoints/none-32/001.ckpt").is_file()
    assert not (folder / "indicator").exists()


def test_the_indicator_is_there_before_the_checkpoint_wherever_it_is_listed(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a study that was killed between the two trains again, and one that finds the checkpoint has both."""

    def fail(*_: object) -> None:
        raise RuntimeError("the power fails")

    monkeypatch.setattr(checkpoints_module, "write_checkpoint", fail)
    with pytest.raises(RuntimeError, match="the power fails"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "1", *SHORT, *FEW)
    assert (tmp_path / "indicator/001.npz").is_file()
    assert not (tmp_path / "checkpoints").exists()


def test_a_training_too_short_for_its_snapshots_says_so_and_leaves_no_indicator(
    privq: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="need a training of at least 40 steps whose end is known; got 12"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0", *SHORT, *WATCHED)
    assert (tmp_path / "checkpoints/none-32/000.ckpt").is_file()
    assert not (tmp_path / "indicator").exists()


def test_a_calibration_is_refused(privq: Callable[..., None], fleet: Path, tmp_path: Path) -> None:
    parent = ("--model.checkpoint", str(fleet / "checkpoints/none-32/001.ckpt"), "--model.bits", "2")
    with pytest.raises(ValueError, match="watches the training of a Classifier or a Fleet; got Calibration"):
        privq("fit", "ptq/nearest.yaml", tmp_path, *parent, *WATCHED)


def test_quantizers_are_named_by_class_path(privq: Callable[..., None], tmp_path: Path) -> None:
    method = "{class_path: lit_privq.quantization.Nearest, init_args: {grid: lit_privq.quantization.MinMax}}"
    chosen = ("--trainer.callbacks.quantizers", f"{{mine: {{bits: 3, method: {method}}}}}")
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0", *SHORT, *FEW, *chosen)
    assert runs(tmp_path, 0).quantizers == ("mine", "full")
    assert runs(tmp_path, 0).codes.max() == 7
    assert Quantizer(Nearest(grid=MinMax()), 3).bits == runs(tmp_path, 0).bits[0]


@pytest.mark.parametrize("wrong", [{"snapshots": 1}, {"every": -1}, {"examples": 0}])
def test_numbers_that_cannot_be_meant_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="snapshots and examples must be at least 2, every at least 0"):
        MisIndicator(**wrong)
