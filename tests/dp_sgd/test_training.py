"""DP-SGD as the command line trains it: alone, in fleets, repeated, resumed, quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_privq.artifacts.results import read_results
from lit_privq.audit import main as audit
from lit_privq.classifier import Classifier
from lit_privq.dp_sgd import epsilon
from lit_privq.fleet import Fleet

PRIVATE = ("--model.init_args.net.init_args.norm", "group", "--model.init_args.dp_sgd.noise_multiplier", "0.5")
SHUFFLED = (*PRIVATE, "--model.init_args.dp_sgd.sampling", "shuffled")
DOUBLE = ("--trainer.precision", "64-true")  # rounding is then too small to push an activation across its kink
SHORT = ("--trainer.max_epochs", "2")


@pytest.fixture(scope="module")
def private(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six private models; to be read, not written to."""
    folder = tmp_path_factory.mktemp("private")
    privq("fit", "shadow/digits.yaml", folder, "--data.model_index", "0:6", *PRIVATE, *SHORT)
    return folder


def checkpoint(folder: Path, model: int, variant: str = "none-32") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / f"checkpoints/{variant}/{model:03d}.ckpt", weights_only=True)
    return loaded


def weights(folder: Path, model: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = checkpoint(folder, model)["state_dict"]
    return state


@pytest.mark.parametrize("options", [PRIVATE, SHUFFLED], ids=["poisson", "shuffled"])
def test_a_model_of_any_fleet_equals_the_same_model_trained_alone(
    privq: Callable[..., None], tmp_path: Path, options: tuple[str, ...]
) -> None:
    for models in ("1:4", "2:6", "2"):  # of 30 and 31 members
        privq("fit", "shadow/digits.yaml", tmp_path / models, "--data.model_index", models, *options, *DOUBLE, *SHORT)
    alone = weights(tmp_path / "2", 2)
    for models in ("1:4", "2:6"):
        mine = weights(tmp_path / models, 2)
        for name, value in alone.items():  # sums taken in another order
            torch.testing.assert_close(mine[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_a_repeat_gives_the_same_bytes_and_another_seed_other_weights(
    privq: Callable[..., None], tmp_path: Path
) -> None:
    for run, seed in (("first", "5"), ("second", "5"), ("third", "6")):
        options = ("--data.model_index", "0:2", "--seed_everything", seed, *PRIVATE, *SHORT)
        privq("fit", "shadow/digits.yaml", tmp_path / run, *options)
    first, second = ((tmp_path / run / "checkpoints/none-32/001.ckpt").read_bytes() for run in ("first", "second"))
    assert first == second
    assert not torch.equal(
        weights(tmp_path / "first", 1)["net.fc.weight"], weights(tmp_path / "third", 1)["net.fc.weight"]
    )


@pytest.mark.parametrize("models", ["1", "0:3"])
def test_a_stopped_training_goes_on_with_the_noise_it_would_have_had(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    kept = ("--trainer.callbacks", "callbacks.WriteCheckpoints", "--trainer.callbacks.resume_seconds", "0")
    options = ("--data.model_index", models, *PRIVATE, *SHORT, *kept)
    kind = Fleet if ":" in models else Classifier
    step: Callable[..., Tensor] = kind.training_step

    def fail(self: Classifier | Fleet, *batch: object) -> Tensor:
        if self.current_epoch == 1:
            raise RuntimeError("the power fails")
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "training_step", fail)
        with pytest.raises(RuntimeError, match="the power fails"):
            privq("fit", "shadow/digits.yaml", tmp_path / "resumed", *options)
    for folder in ("resumed", "whole"):
        privq("fit", "shadow/digits.yaml", tmp_path / folder, *options)
    resumed, whole = (weights(tmp_path / folder, 1) for folder in ("resumed", "whole"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_what_is_written_says_epsilon(
    privq: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *PRIVATE, *SHORT)
    bound = epsilon(0.5, 1 / 4, 8, delta=1e-5)  # batches of at most 8 of 31, two epochs
    assert checkpoint(tmp_path, 0)["lit_privq"]["dp_sgd"]["epsilon"] == bound
    assert capsys.readouterr().out.splitlines()[-1].endswith(f" %, epsilon {bound:.3g} at delta 1e-05")
    assert Classifier.load_from_checkpoint(tmp_path / "checkpoints/none-32/000.ckpt").dp_sgd is not None


def test_results_of_an_audit_have_the_accountants_epsilon_of_each_target(
    privq: Callable[..., None], private: Path, tmp_path: Path
) -> None:
    path = str(private / "checkpoints/none-32/{index:03d}.ckpt")
    privq("predict", "query/digits.yaml", tmp_path, "--data.model_index", "0:6", "--ckpt_path", path)
    audit(
        [
            "--input",
            str(tmp_path / "confidence"),
            "--output",
            str(tmp_path),
            "--attacks",
            "threshold",
            "--report",
            "false",
        ]
    )
    results = read_results(tmp_path / "results.csv")
    bounds = results.values(results.full_precision, "accountant_epsilon")
    assert bounds == {model: checkpoint(private, model)["lit_privq"]["dp_sgd"]["epsilon"] for model in (4, 5)}


@pytest.mark.parametrize(
    ("config", "options", "kept"),
    [
        ("nearest", (), True),  # of the weights alone
        ("nearest", ("--model.batch_norm_batches", "2"), True),  # of which the network has none
        ("nearest", ("--model.bias_correction", "true"), False),
        (
            "nearest",
            ("--model.method.grid", "lit_privq.quantization.RangeSearch", "--model.method.grid.by_output", "true"),
            False,
        ),
        ("adaround", (), False),
    ],
)
def test_a_quantized_model_keeps_the_guarantee_unless_its_members_were_seen_again(
    privq: Callable[..., None], private: Path, tmp_path: Path, config: str, options: tuple[str, ...], kept: bool
) -> None:
    path = str(private / "checkpoints/none-32/000.ckpt")
    privq("fit", f"ptq/{config}.yaml", tmp_path, "--model.checkpoint", path, "--model.bits", "2", *options)
    own, parent = (
        checkpoint(folder, 0, v)["lit_privq"]["dp_sgd"]
        for folder, v in ((tmp_path, f"{config}-2"), (private, "none-32"))
    )
    assert own == {**parent, "epsilon": parent["epsilon"] if kept else None}


def test_shuffled_batches_have_no_guarantee(
    privq: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, *SHUFFLED, "--trainer.max_epochs", "1")
    assert checkpoint(tmp_path, 0)["lit_privq"]["dp_sgd"]["epsilon"] is None
    assert capsys.readouterr().out.splitlines()[-1].endswith(" %, no guarantee of privacy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model.init_args.dp_sgd.noise_multiplier", "0.5"), r"batch norm mixes them; got layer bn1"),
        (
            (*PRIVATE, "--model.init_args.dp_sgd.max_grad_norm", "0"),
            r"max_grad_norm of DP-SGD must be a number above 0",
        ),
        ((*PRIVATE, "--model.init_args.compile", "true"), r"got model\.compile True, set it False"),
        ((*PRIVATE, "--trainer.accumulate_grad_batches", "2"), r"got trainer\.accumulate_grad_batches 2, set it 1"),
        (
            (*PRIVATE, "--model", "lit_privq.fleet.Fleet", "--model.stacking", "vmap", "--data.model_index", "0:2"),
            r"set stacking auto, got vmap",
        ),
    ],
)
def test_what_would_not_be_private_is_refused(
    privq: Callable[..., None], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        privq("fit", "shadow/digits.yaml", tmp_path, *options)
