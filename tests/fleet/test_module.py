from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_privq.classifier import Classifier, ShadowTraining
from lit_privq.cli import resume_checkpoint, run_cli
from lit_privq.fleet import Fleet
from lit_privq.fleet.ways import AloneStack, GroupedStack, VmapStack, join
from lit_privq.models.small import small_resnet

DOUBLE = ("--trainer.precision", "64-true")  # so that rounding is too small to push an activation across its kink
REST = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.callbacks.resume_seconds", "0")
SHORT = ("--trainer.max_epochs", "3", "--trainer.limit_val_batches", "0")


def checkpoint(folder: Path, model: int) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / f"checkpoints/none-32/{model:03d}.ckpt", weights_only=True)
    return loaded


def weights(folder: Path, model: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = checkpoint(folder, model)["state_dict"]
    return state


def identical(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are begun from here on."""
    begun: list[int] = []
    for kind in (Classifier, Fleet):
        start: Callable[..., None] = kind.on_train_epoch_start

        def spy(self: ShadowTraining, start: Callable[..., None] = start) -> None:
            begun.append(self.current_epoch)
            start(self)

        monkeypatch.setattr(kind, "on_train_epoch_start", spy)
    return begun


@pytest.fixture
def interrupted(privq: Callable[..., None], tmp_path: Path) -> Callable[..., Path]:
    """Begin a training and break it off in an epoch; returns its folder."""

    def begin(models: str, epoch: int) -> Path:
        def fail(self: ShadowTraining, *_: object) -> Tensor:
            if self.current_epoch == epoch:
                raise RuntimeError("the power fails")
            return step(self, *_)

        kind = Fleet if ":" in models else Classifier
        step: Callable[..., Tensor] = kind.training_step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "training_step", fail)
            with pytest.raises(RuntimeError, match="the power fails"):
                privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", models, *REST, *SHORT)
        return tmp_path

    return begin


@pytest.fixture(scope="module")
def alone(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models 2 and 3 trained alone, one with 30 members, the other with 31."""
    folder = tmp_path_factory.mktemp("alone")
    for model in ("2", "3"):
        privq("fit", "shadow/digits.yaml", folder, "--data.model_index", model, *DOUBLE)
    assert {int(checkpoint(folder, model)["lit_privq"]["members"].sum()) for model in (2, 3)} == {30, 31}
    return folder


@pytest.mark.parametrize("stacking", ["grouped", "vmap", "alone"])
def test_a_model_of_a_fleet_equals_the_same_model_trained_alone(
    privq: Callable[..., None], alone: Path, tmp_path: Path, stacking: str
) -> None:
    how = ("--model", "lit_privq.fleet.Fleet", "--model.init_args.stacking", stacking)
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "1:4", *how, *DOUBLE)
    for model in (2, 3):
        assert checkpoint(alone, model)["global_step"] == 24
        mine, single = weights(tmp_path, model), weights(alone, model)
        assert mine.keys() == single.keys()
        for name, value in single.items():  # 24 steps of sums taken in another order
            torch.testing.assert_close(mine[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_models_with_different_seeds_of_their_own_end_up_far_apart(alone: Path) -> None:
    one, other = weights(alone, 2)["net.fc.weight"], weights(alone, 3)["net.fc.weight"]
    assert (one - other).abs().max() > 0.1  # so that the tolerance above means something


def test_a_fleets_checkpoint_says_the_same_of_its_model_as_one_trained_alone(study: Path, alone: Path) -> None:
    mine, single = checkpoint(study, 3), checkpoint(alone, 3)
    assert mine.keys() == single.keys()
    assert mine["hyper_parameters"] == single["hyper_parameters"]
    assert torch.equal(mine["lit_privq"].pop("members"), single["lit_privq"].pop("members"))
    assert mine["lit_privq"].pop("accuracy") == pytest.approx(single["lit_privq"].pop("accuracy"), abs=5e-3)
    assert 2 * mine["lit_privq"].pop("size_bytes") > single["lit_privq"].pop("size_bytes")  # of float64
    assert mine["lit_privq"] == single["lit_privq"]


@pytest.mark.parametrize(("pool_size", "calls"), [(60, 4), (61, 5)])
def test_one_forward_call_serves_all_models_and_a_second_only_ragged_ends(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool_size: int, calls: int
) -> None:
    seen: list[int] = []
    forward = GroupedStack.forward

    def count(self: GroupedStack, images: Tensor, models: tuple[int, ...] | None = None) -> Tensor:
        if torch.is_grad_enabled() and self.size == 4:
            seen.append(images.shape[1])
        return forward(self, images, models)

    monkeypatch.setattr(GroupedStack, "forward", count)
    pool = ("--data.dataset.init_args.pool_size", str(pool_size))
    once = ("--trainer.max_epochs", "1", "--trainer.limit_val_batches", "0")
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0:4", *pool, *once)
    assert len(seen) == calls  # four steps
    assert sum(seen[:4]) <= -(-pool_size // 2) + 8


def test_gradient_clipping_over_a_fleet_is_refused(privq: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gradient_clip_val clips the norm over all models"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "0:2", "--trainer.gradient_clip_val", "1")


@pytest.mark.parametrize("models", ["1", "0:3"])
def test_an_interrupted_training_goes_on_from_its_resume_checkpoint_to_the_same_weights(
    privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory, interrupted: Callable[..., Path],
    epochs: list[int], models: str,
) -> None:  # fmt: skip
    folder = interrupted(models, epoch=2)
    assert not (folder / "checkpoints" / "none-32").exists()
    assert epochs == [0, 1, 2]
    privq("fit", "shadow/digits.yaml", folder, "--data.model_index", models, *REST, *SHORT)
    assert epochs == [0, 1, 2, 2]
    whole = tmp_path_factory.mktemp("whole")
    privq("fit", "shadow/digits.yaml", whole, "--data.model_index", models, *SHORT)
    assert identical(weights(folder, 1), weights(whole, 1))
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["none-32"]


def test_a_changed_recipe_does_not_take_an_old_resume_checkpoint(
    privq: Callable[..., None], interrupted: Callable[..., Path], epochs: list[int]
) -> None:
    folder = interrupted("0:2", epoch=1)
    epochs.clear()
    slower = ("--model.init_args.optimizer.init_args.lr", "0.05")
    privq("fit", "shadow/digits.yaml", folder, "--data.model_index", "0:2", *SHORT, *slower)
    assert epochs == [0, 1, 2]


@pytest.mark.parametrize(
    ("option", "value", "same"),
    [
        ("--data.batch_size", "9", False),
        ("--data.model_index", "1:3", False),
        ("--model.init_args.optimizer.init_args.lr", "0.05", False),
        ("--trainer.max_epochs", "4", False),
        ("--trainer.precision", "bf16-mixed", False),
        ("--seed_everything", "1", False),
        ("--trainer.callbacks", "callbacks.WandbRuns", True),
        ("--trainer.enable_progress_bar", "true", True),
    ],
)
def test_a_resume_checkpoint_is_named_after_models_and_recipe_alone(
    conf: Path, option: str, value: str, same: bool
) -> None:
    def name(*options: str) -> Path:
        command = ["--config", str(conf / "shadow/digits.yaml"), "--data.model_index", "0:2", *options]
        return resume_checkpoint(run_cli(command, run=False).config)

    assert (name(option, value) == name()) is same


def test_two_runs_with_one_seed_are_bit_identical_and_another_seed_differs(
    privq: Callable[..., None], tmp_path: Path
) -> None:
    for run, seed in {"first": "5", "second": "5", "third": "6"}.items():
        options = ("--data.model_index", "0:2", "--seed_everything", seed, *SHORT)
        privq("fit", "shadow/digits.yaml", tmp_path / run, *options)
    for model in (0, 1):
        first, second, third = (weights(tmp_path / run, model) for run in ("first", "second", "third"))
        assert identical(first, second)
        assert not identical(first, third)


def test_networks_are_stacked_in_the_first_way_they_survive_and_it_is_said_why_not_in_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr("lit_privq.fleet.ways.rank_zero_info", said.append)
    nets = [small_resnet(num_classes=10, width=4) for _ in range(2)]
    assert isinstance(join(nets, "auto", (1, 8, 8)), GroupedStack)
    assert isinstance(join(nets, "alone", (1, 8, 8)), AloneStack)
    assert isinstance(join(nets[:1], "auto", (1, 8, 8)), AloneStack)
    normed = [nn.Sequential(nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2)) for _ in range(2)]
    assert isinstance(join(normed, "auto", (4,)), VmapStack)
    (line,) = said
    assert line.startswith("not grouped: layer 1 (LayerNorm(")
