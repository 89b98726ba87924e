from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.artifacts.construction import build, plain
from lit_privq.classifier import Classifier, check_fits
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.data.digits import Digits
from lit_privq.data.membership import study_membership
from lit_privq.data.task import Classification
from lit_privq.models.small import small_resnet

VARIANTS = ["none-32", "nearest-1.58", "adaround-1.58-last8"]


load = read_checkpoint


def leaves(value: Any) -> list[Any]:
    if type(value) is dict:
        assert all(type(key) is str for key in value)
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if type(value) is list else [value]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_restores_as_a_classifier_with_the_weights_it_holds(study: Path, variant: str) -> None:
    path = study / f"checkpoints/{variant}/002.ckpt"
    restored = Classifier.load_from_checkpoint(path, weights_only=True).eval()
    state = load(path)["state_dict"]
    assert type(restored) is Classifier
    assert restored.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in restored.state_dict().items())
    images = Digits(pool_size=61).load(Path(), False).inputs[:4].float()
    expected = build(load(path)["hyper_parameters"]["net"])
    expected.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
    assert torch.equal(restored(images), expected.eval()(images))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_holds_plain_types_and_no_path(study: Path, variant: str) -> None:
    for path in sorted((study / "checkpoints" / variant).iterdir()):
        checkpoint = load(path)
        found = leaves({**checkpoint, "state_dict": dict(checkpoint["state_dict"])})
        assert {type(leaf) for leaf in found} <= {str, int, float, bool, type(None), Tensor}
        assert not [leaf for leaf in found if isinstance(leaf, str) and ("/" in leaf or "Namespace" in leaf)]


def test_a_checkpoint_says_which_model_it_is_and_what_it_saw(study: Path) -> None:
    members = study_membership(4, 2, 61, seed=0)
    for index in range(6):
        made = load(study / f"checkpoints/none-32/{index:03d}.ckpt")["lit_privq"]
        assert (made["index"], made["variant"], made["method"], made["bits"]) == (index, "none-32", "none", 32)
        assert (made["dataset"], made["net"], made["seed"]) == ("digits", "small_resnet-w4", 0)
        assert made["fingerprint"] == Digits(pool_size=61).load(Path(), False).fingerprint()
        assert np.array_equal(made["members"].numpy(), members[index])
        assert 0 < made["accuracy"] < 1


def test_its_accuracy_is_the_share_of_the_test_set_that_it_gets_right(study: Path) -> None:
    pool = Digits(pool_size=61).load(Path(), False)
    checkpoint = load(study / "checkpoints/none-32/001.ckpt")
    net = Classifier.load_from_checkpoint(study / "checkpoints/none-32/001.ckpt", weights_only=True).eval()
    images = (pool.test_inputs.float() / 255 - pool.mean[0]) / pool.std[0]
    right = (net(images).argmax(-1) == pool.test_labels).sum()
    assert abs(int(right) - checkpoint["lit_privq"]["accuracy"] * len(images)) < 1.5  # one tie may fall differently


def test_training_lowers_the_loss(privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    monkeypatch.setattr(Classifier, "on_train_epoch_end", lambda self: losses.append(float(self.history["loss"][0])))
    plain_images = ("--data.padding", "0", "--data.mirror", "false", "--data.n_queries", "1")
    longer = ("--trainer.max_epochs", "15", "--model.init_args.scheduler.init_args.T_max", "15")
    privq("fit", "shadow/digits.yaml", tmp_path, *plain_images, *longer)
    assert len(losses) == 15
    assert losses[-1] < losses[0] / 2


def test_initial_weights_depend_on_the_seed_and_the_model_alone(
    privq: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(model: int, seed: int, *options: str) -> Tensor:
        torch.manual_seed(len(options))  # whatever was drawn before must not matter
        folder = tmp_path / f"{model}-{seed}-{len(options)}"
        none = ("--trainer.max_epochs", "0", "--data.model_index", str(model), "--seed_everything", str(seed))
        privq("fit", "shadow/digits.yaml", folder, *none, *options)
        weight: Tensor = load(folder / f"checkpoints/none-32/{model:03d}.ckpt")["state_dict"]["net.fc.weight"]
        return weight

    first = start(1, 0)
    assert torch.equal(first, start(1, 0, "--data.split_seed", "4", "--data.batch_size", "9"))
    assert not torch.equal(first, start(2, 0))
    assert not torch.equal(first, start(1, 1))


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_validate_and_test_tell_the_accuracy_written_in_the_checkpoint(
    privq: Callable[..., None], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    path = study / "checkpoints/none-32/003.ckpt"
    privq(verb, "shadow/digits.yaml", tmp_path, "--ckpt_path", str(path))
    assert f"{load(path)['lit_privq']['accuracy']:.4f}"[:5] in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_label_smoothing_reaches_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "task", Classification(2))  # which otherwise the data module tells
    logits, labels = torch.tensor([[[4.0, 0.0]]]), torch.tensor([[0]])
    sharp, smooth = (Classifier(nn.Identity(), label_smoothing=s).losses(logits, labels) for s in (0.0, 0.5))
    assert sharp.shape == (1,)
    assert sharp.item() == pytest.approx(np.log1p(np.exp(-4)), rel=1e-5)
    assert smooth.item() == pytest.approx(0.25 * 4 + np.log1p(np.exp(-4)), rel=1e-5)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ({"num_classes": 7}, "must tell the 10 classes of digits apart; .* shape \\(7,\\), set .*num_classes to 10"),
        ({"num_classes": 10, "in_channels": 3}, "must take the inputs of digits, in shape \\(1, 8, 8\\)"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_the_data_is_refused(net: Mapping[str, int], message: str) -> None:
    spec = {"class_path": "lit_privq.models.small.small_resnet", "init_args": net}
    with pytest.raises(ValueError, match=message):
        check_fits(build(spec), Digits().load(Path(), False))


@pytest.mark.parametrize(("end", "told"), [(nn.Softmax(dim=1), 1), (nn.Identity(), 0), (nn.Sigmoid(), 0)])
def test_a_softmax_at_the_end_of_a_network_is_noticed(
    end: nn.Module, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    check_fits(nn.Sequential(small_resnet(num_classes=10), end), Digits().load(Path(), False))
    assert sum("seems to end in a softmax" in record.message for record in caplog.records) == told


def test_plain_leaves_nothing_that_a_checkpoint_must_not_hold() -> None:
    data = ShadowDataModule(Digits(pool_size=61), n_shadows=2, n_targets=0)
    assert plain({"a": (1, 2.0), "b": data.hparams["n_shadows"]}) == {"a": [1, 2.0], "b": 2}
