"""Situations of lit_privq/classifier.py and fleet/module.py: trainings that would end in something else than meant."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from callbacks import DumpLogits, WriteCheckpoints
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.confidences import read_dump
from lit_privq.artifacts.construction import recorded
from lit_privq.audit.folder import Folder
from lit_privq.classifier import Classifier, ShadowTraining, check_schedule, check_threads
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.data.digits import Digits
from lit_privq.fleet import Fleet
from lit_privq.models.resnet import resnet18
from lit_privq.models.small import small_resnet
from lit_privq.query import Query

EVERYONE = ("--data.model_index", "0:6")
CALM = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
FEW: dict[str, Any] = {"n_shadows": 4, "n_targets": 2, "batch_size": 8}


@pytest.fixture
def quiet() -> Any:
    """Lightning's hints that do not apply; its own command line leaves them out too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers|.*number of training batches.*")
        warnings.filterwarnings("ignore", message=r".*no `val_dataloader`.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli")
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*|.*litlogger.*")
        yield


def accuracy(path: Path) -> float:
    value: float = read_checkpoint(path)["lit_privq"]["accuracy"]
    return value


def test_the_first_thing_that_a_lightning_user_types_works(quiet: None, tmp_path: Path) -> None:
    model = Classifier(net=small_resnet(num_classes=10, width=4))
    data = ShadowDataModule(Digits(pool_size=61), **FEW)
    trainer = L.Trainer(
        max_epochs=1, default_root_dir=tmp_path, accelerator="cpu", callbacks=[WriteCheckpoints()], **CALM
    )
    trainer.fit(model, data)
    path = tmp_path / "checkpoints/none-32/000.ckpt"
    checkpoint = read_checkpoint(path)
    net = network_of(checkpoint, path)
    assert all(torch.equal(value, model.net.state_dict()[name]) for name, value in net.state_dict().items())
    assert checkpoint["lit_privq"]["net"] == "small_resnet-w4"
    assert checkpoint["lit_privq"]["data"]["dataset"]["class_path"] == "lit_privq.data.digits.Digits"
    again = Classifier.load_from_checkpoint(path, weights_only=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_same_in_python_and_on_the_command_line_gives_the_same_weights(
    quiet: None, privq: Callable[..., None], tmp_path: Path
) -> None:
    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)

    privq("fit", "shadow/digits.yaml", tmp_path / "a", "--trainer.max_epochs", "1", "--model.scheduler", "null")
    model = Classifier(net=small_resnet(10, width=4), optimizer=optimizer)
    data = ShadowDataModule(Digits(pool_size=61), padding=1, n_queries=3, calibration_size=16, **FEW)
    run = {"default_root_dir": tmp_path / "b", "accelerator": "cpu", "callbacks": [WriteCheckpoints()]}
    L.Trainer(max_epochs=1, num_sanity_val_steps=0, **run, **CALM).fit(model, data)
    one, other = (read_checkpoint(tmp_path / f"{k}/checkpoints/none-32/000.ckpt") for k in "ab")
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())
    assert one["lit_privq"]["accuracy"] == other["lit_privq"]["accuracy"]


def test_a_checkpoint_made_in_python_is_queried_on_the_command_line(
    quiet: None, privq: Callable[..., None], tmp_path: Path
) -> None:
    fleet = Fleet(net=small_resnet(num_classes=10, width=4))
    data = ShadowDataModule(Digits(pool_size=61), model_index="0:6", calibration_size=16, **FEW)
    run = {"default_root_dir": tmp_path, "accelerator": "cpu", "callbacks": [WriteCheckpoints()]}
    L.Trainer(max_epochs=1, **run, **CALM).fit(fleet, data)
    path = str(tmp_path / "checkpoints/none-32/{index:03d}.ckpt")
    privq("predict", "query/digits.yaml", tmp_path, *EVERYONE, "--ckpt_path", path)
    assert read_dump(tmp_path / "confidence/none-32/005.npz").meta["net"] == "small_resnet-w4"


def test_a_network_whose_making_is_unknown_is_asked_for_it_and_a_recorded_one_is_not(
    quiet: None, tmp_path: Path
) -> None:
    def fit(net: nn.Module) -> None:
        run = {"default_root_dir": tmp_path, "accelerator": "cpu", "callbacks": [WriteCheckpoints()]}
        L.Trainer(max_epochs=1, **run, **CALM).fit(Classifier(net=net), ShadowDataModule(Digits(61), **FEW))

    with pytest.raises(ValueError, match=r"passed as an object: pass recorded\(my_network\)\(\.\.\.\)"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    assert not list(tmp_path.iterdir())
    fit(recorded(resnet18)(num_classes=10, in_channels=1, width=4))
    assert [path.name for path in (tmp_path / "checkpoints/none-32").iterdir()] == ["000.ckpt"]


def test_a_module_without_the_shadow_data_module_says_what_it_needs(quiet: None) -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4)))
    with pytest.raises(
        ValueError, match="Classifier needs a ShadowDataModule, which says who trains on what; got NoneType"
    ):
        L.Trainer(max_epochs=1, accelerator="cpu", **CALM).fit(Classifier(small_resnet(10)), loader)


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """In an epoch, weights of some models become NaN."""

    def spoil(models: set[int], epoch: int) -> None:
        def spoiled(self: ShadowTraining, start: Callable[..., None]) -> None:
            start(self)
            weights = self.get_parameter("stack.net.fc.weight" if isinstance(self, Fleet) else "net.fc.weight").data
            for k, model in enumerate(self.data.models):
                if model in models and self.current_epoch == epoch:
                    (weights[k] if isinstance(self, Fleet) else weights).fill_(float("nan"))

        for kind in (Classifier, Fleet):
            start = kind.on_train_epoch_start
            monkeypatch.setattr(kind, "on_train_epoch_start", lambda self, start=start: spoiled(self, start))

    return spoil


def test_a_diverged_training_writes_no_checkpoint_and_stops_naming_model_epoch_and_loss(
    privq: Callable[..., None], tmp_path: Path, breaks: Callable[..., None], epochs_of: list[int]
) -> None:
    breaks({3}, epoch=1)
    with pytest.raises(ValueError, match=r"none is written for model 3 \(none-32, .*: diverged in epoch 2, loss nan\)"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "3")
    assert not list(tmp_path.rglob("*.ckpt"))
    assert (tmp_path / "checkpoints/none-32/003.ckpt.diverged").is_file()
    assert epochs_of == [0, 1], "there is nothing to train any more"


def test_the_others_of_a_fleet_are_trained_to_the_end_and_written(
    privq: Callable[..., None], study: Path, tmp_path: Path, breaks: Callable[..., None]
) -> None:
    breaks({1, 4}, epoch=2)
    message = r"model 1 \(none-32, .*: diverged in epoch 3, loss nan\); model 4 \(none-32, .*epoch 3"
    with pytest.raises(ValueError, match=message):
        privq("fit", "shadow/digits.yaml", tmp_path, *EVERYONE)
    folder = tmp_path / "checkpoints/none-32"
    assert sorted(path.name for path in folder.glob("*.ckpt")) == [f"00{k}.ckpt" for k in (0, 2, 3, 5)]
    assert sorted(path.name for path in folder.glob("*.diverged")) == [f"00{k}.ckpt.diverged" for k in (1, 4)]
    for k in (0, 2, 3, 5):
        one, other = (read_checkpoint(f / f"00{k}.ckpt")["state_dict"] for f in (folder, study / "checkpoints/none-32"))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def epochs_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are begun."""
    begun: list[int] = []
    start = Classifier.on_train_epoch_start

    def spy(self: Classifier) -> None:
        begun.append(self.current_epoch)
        start(self)

    monkeypatch.setattr(Classifier, "on_train_epoch_start", spy)
    return begun


@pytest.mark.parametrize("models", ["2", "2:4"])
@pytest.mark.parametrize("options", [("--trainer.max_epochs", "3"), ("--trainer.max_steps", "12")])
def test_the_last_epoch_is_validated_however_seldom_others_are(
    privq: Callable[..., None], tmp_path: Path, models: str, options: tuple[str, ...]
) -> None:
    for seldom in ("1", "50"):
        every = ("--trainer.check_val_every_n_epoch", seldom)
        privq("fit", "shadow/digits.yaml", tmp_path / seldom, "--data.model_index", models, *options, *every)
    often, never = (accuracy(tmp_path / seldom / "checkpoints/none-32/002.ckpt") for seldom in ("1", "50"))
    assert often == never
    assert 0 < often < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trainer.max_epochs", "12"), "got T_max 6 and a training of 12, set T_max of model.scheduler with trainer"),
        (("--trainer.devices", "2"), "models are independent, so a command runs on one device; got 2, .* --jobs"),
        (("--trainer.limit_train_batches", "2"), "trains on all of its members, .* got limit_train_batches 2"),
        (("--trainer.limit_train_batches", "0.5"), r"got limit_train_batches 0\.5, leave it out .*fast_dev_run"),
        (("--trainer.overfit_batches", "1"), "trains on all of its members"),
    ],
)
@pytest.mark.parametrize("models", ["0", "0:2"])
def test_a_training_that_would_do_something_else_than_meant_is_refused(
    privq: Callable[..., None], tmp_path: Path, options: tuple[str, ...], message: str, models: str
) -> None:
    with pytest.raises(ValueError, match=message):
        privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", models, *options)
    assert not list(tmp_path.rglob("*.ckpt"))


SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {  # each six long
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=6),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=1.0, total_steps=6),
    "polynomial": lambda optimizer: PolynomialLR(optimizer, total_iters=6),
    "warm-up and cosine": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, total_iters=2), CosineAnnealingLR(optimizer, T_max=4)], [2]
    ),
    "two cosines": lambda optimizer: SequentialLR(
        optimizer, [CosineAnnealingLR(optimizer, T_max=3), CosineAnnealingLR(optimizer, T_max=3)], [3]
    ),
    "cosine that falls by steps": lambda optimizer: ChainedScheduler(
        [CosineAnnealingLR(optimizer, T_max=6), StepLR(optimizer, 2)], optimizer
    ),
}
scheduled = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)


@scheduled
@pytest.mark.parametrize("length", [6, 3, 0])
def test_a_schedule_as_long_as_its_training_or_longer_is_taken(
    make: Callable[[Optimizer], LRScheduler], length: int
) -> None:
    check_schedule(make(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)), length)


@pytest.mark.filterwarnings("ignore:To get the last learning rate")
@scheduled
@pytest.mark.parametrize("length", [7, -1])
def test_a_schedule_that_ends_before_its_training_or_in_an_open_one_is_refused(
    make: Callable[[Optimizer], LRScheduler], length: int
) -> None:
    with pytest.raises(ValueError, match=r"must be the length of .* set (T_max|total_steps|total_iters) of model"):
        check_schedule(make(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)), length)


def test_a_schedule_without_an_end_fits_every_training() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    for schedule in (StepLR(optimizer, 2), CosineAnnealingWarmRestarts(optimizer, 6), LinearLR(optimizer, 0.1)):
        check_schedule(schedule, 100)


def test_a_cosine_that_another_part_of_the_schedule_cuts_off_too_late_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    parts = [CosineAnnealingLR(optimizer, T_max=2), StepLR(optimizer, 2)]
    with pytest.raises(ValueError, match="got T_max 2 and a training of 4"):
        check_schedule(SequentialLR(optimizer, parts, [4]), 10)


@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_a_trial_run_leaves_finished_files_alone(
    privq: Callable[..., None], study: Path, tmp_path: Path, verb: str
) -> None:
    finished = tmp_path / ("checkpoints/none-32/000.ckpt" if verb == "fit" else "confidence/none-32/000.npz")
    finished.parent.mkdir(parents=True)
    finished.write_bytes(b"finished")
    checkpoint = ("--ckpt_path", str(study / "checkpoints/none-32/000.ckpt")) if verb == "predict" else ()
    config = "shadow/digits.yaml" if verb == "fit" else "query/digits.yaml"
    privq(verb, config, tmp_path, "--trainer.fast_dev_run", "true", *checkpoint)
    assert finished.read_bytes() == b"finished"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [finished]


def test_a_part_of_the_examples_is_not_dumped(privq: Callable[..., None], study: Path, tmp_path: Path) -> None:
    few = ("--ckpt_path", str(study / "checkpoints/none-32/000.ckpt"), "--trainer.limit_predict_batches", "0.5")
    with pytest.raises(
        ValueError, match="an audit needs what a model says of every example; got limit_predict_batches 0"
    ):
        privq("predict", "query/digits.yaml", tmp_path, *few)


def changed_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"half", lambda content: content[:-1000], changed_in_the_middle],
    ids=["empty", "text", "truncated", "a changed bit"],
)
def test_a_damaged_resume_checkpoint_is_told_and_training_begins_anew(
    privq: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs_of: list[int],
    damage: Callable[[bytes], bytes],
) -> None:
    resume = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.callbacks.resume_seconds", "0")
    command = ("--data.model_index", "1", *resume)
    step = Classifier.training_step

    def fail(self: Classifier, batch: Any, index: int) -> Tensor:
        if self.current_epoch == 2:
            raise RuntimeError("the power fails")
        return step(self, batch, index)

    with monkeypatch.context() as power:
        power.setattr(Classifier, "training_step", fail)
        with pytest.raises(RuntimeError, match="the power fails"):
            privq("fit", "shadow/digits.yaml", tmp_path, *command)
    (left,) = tmp_path.rglob(".resume-*.ckpt")
    left.write_bytes(damage(left.read_bytes()))
    epochs_of.clear()
    with pytest.warns(
        UserWarning, match=f"the resume checkpoint {re.escape(str(left))} is damaged, so the training begins"
    ):
        privq("fit", "shadow/digits.yaml", tmp_path, *command)
    assert epochs_of == [0, 1, 2, 3, 4, 5]
    assert not left.exists()
    assert 0 < accuracy(tmp_path / "checkpoints/none-32/001.ckpt") < 1


def test_two_fits_of_one_recipe_write_the_same_bytes(privq: Callable[..., None], study: Path, tmp_path: Path) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *EVERYONE)
    for k in range(6):
        one, other = (folder / f"checkpoints/none-32/{k:03d}.ckpt" for folder in (tmp_path, study))
        assert one.read_bytes() == other.read_bytes()


def test_confidences_say_their_precision_and_an_audit_does_not_mix_them(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    path = str(study / "checkpoints/none-32/{index:03d}.ckpt")
    privq("predict", "query/digits.yaml", tmp_path, *EVERYONE, "--ckpt_path", path)
    half = ("--data.model_index", "3", "--trainer.precision", "bf16-mixed")
    assert Folder(tmp_path / "confidence").shadows == [0, 1, 2, 3]
    privq("predict", "query/digits.yaml", tmp_path, *half, "--ckpt_path", path)
    assert read_dump(tmp_path / "confidence/none-32/000.npz").meta["precision"] == "32-true"
    assert read_dump(tmp_path / "confidence/none-32/003.npz").meta["precision"] == "bf16-mixed"
    with pytest.raises(ValueError, match=r"must share precision; .*003\.npz has 'bf16-mixed', the others '32-true'"):
        Folder(tmp_path / "confidence")


@pytest.mark.parametrize(("width", "threads", "refused"), [(8, 2, True), (8, 1, False), (16, 2, False)])
def test_what_crashes_torch_with_several_threads_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, width: int, threads: int, refused: bool
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    net = resnet18(num_classes=10, width=width)
    if refused:
        with pytest.raises(
            ValueError, match=r"torch crashes .* of layer layer2\.0\.downsample\.0, .* OMP_NUM_THREADS=1"
        ):
            check_threads(net)
    else:
        check_threads(net)


def test_a_contiguous_network_trains_with_any_number_of_threads(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    once = ("--trainer.max_epochs", "1")
    privq("fit", "shadow/digits.yaml", tmp_path, *once)
    with pytest.raises(ValueError, match=r"set model\.channels_last false or OMP_NUM_THREADS=1"):
        privq("fit", "shadow/digits.yaml", tmp_path, *once, "--model.channels_last", "true")


def test_queries_and_callbacks_work_without_the_command_line(quiet: None, study: Path, tmp_path: Path) -> None:
    data = ShadowDataModule(Digits(pool_size=61), model_index="0:6", n_queries=3, padding=1, **FEW)
    query = Query(str(study / "checkpoints/none-32/{index:03d}.ckpt"))
    run = {"default_root_dir": tmp_path, "accelerator": "cpu", "callbacks": [DumpLogits()]}
    L.Trainer(**run, **CALM).predict(query, data)
    one, other = (read_dump(folder / "confidence/none-32/004.npz") for folder in (study, tmp_path))
    np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-4, atol=1e-5)  # other batches of the same sums
