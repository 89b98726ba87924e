from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_privq import quantize
from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.export.card import NOT_AUDITED, model_card
from lit_privq.export.command import main
from lit_privq.export.packed import read_packed
from lit_privq.quantization import Nearest

MADE: dict[str, Any] = {
    "version": "0.1.0",
    "dataset": "digits",
    "net": "small",
    "variant": "nearest-2",
    "method": "nearest",
    "options": {"class_path": "lit_privq.quantization.Nearest", "init_args": {}},
    "bits": 2,
    "index": 17,
    "accuracy": 0.95,
    "calibration": torch.arange(4),
    "members": torch.arange(10) < 5,
    "data": {"dataset": "lit_privq.data.Digits", "batch_size": 64, "root": "/home/somebody/data"},
}
TRAINED = {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}, "net": {}, "dp_sgd": None}


def checkpoint(**changed: object) -> dict[str, Any]:
    return {"lit_privq": {**MADE, **changed}, "hyper_parameters": TRAINED, "epoch": 30}


def test_a_card_says_data_recipe_method_and_bits_and_no_path_of_this_machine(tmp_path: Path) -> None:
    card = model_card(checkpoint(), tmp_path / "x.ckpt")
    assert (card["dataset"], card["method"], card["bits"], card["members"]) == ("digits", "nearest", 2, 5)
    assert card["recipe"]["optimizer"]["init_args"]["lr"] == 0.1
    assert card["recipe"]["epoch"] == 30
    assert card["leakage"] == NOT_AUDITED
    assert "somebody" not in json.dumps(card)


def test_an_accuracy_from_before_quantization_is_called_so(tmp_path: Path) -> None:
    after_training = model_card(checkpoint(), tmp_path / "x.ckpt")
    assert "accuracy" not in after_training
    assert after_training["accuracy_before_quantization"] == 0.95
    own = {name: value for name, value in MADE.items() if name != "calibration"}  # as aware training leaves it
    card = model_card({**checkpoint(), "lit_privq": own}, tmp_path / "x.ckpt")
    assert card["accuracy"] == 0.95


def test_a_card_has_the_accuracy_and_the_leakage_that_the_studys_audit_found(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": [0.10, 0.11, 0.12], "nearest-2": [0.05, 0.06, 0.07]}
    folder = made_up(leaks, {"none-32": [0.9, 0.9, 0.9], "nearest-2": [0.7, 0.8, 0.9]}, slices={"canaries": leaks})
    card = model_card(checkpoint(), folder / "checkpoints/nearest-2/017.ckpt")
    assert card["accuracy"] == 0.8  # its own: model 17 is the second of three targets
    assert card["leakage"]["value"] == pytest.approx(0.06)
    assert (card["leakage"]["metric"], card["leakage"]["attacker"]) == ("tpr_at_0.01", "unaware")
    assert card["leakage"]["low"] < 0.06 < card["leakage"]["high"]
    assert (card["leakage_worst_case"]["slice"], card["leakage_worst_case"]["metric"]) == ("canaries", "auc")
    assert model_card(checkpoint(index=3), folder / "checkpoints/nearest-2/003.ckpt")["accuracy"] == pytest.approx(0.8)
    assert model_card(checkpoint(variant="obc-2"), folder / "checkpoints/obc-2/017.ckpt")["leakage"] == NOT_AUDITED


def test_an_audit_that_cannot_be_read_is_said_in_the_card(made_up: Callable[..., Path]) -> None:
    folder = made_up({"none-32": [0.10, 0.11], "nearest-2": [0.05, 0.06]})
    (folder / "metrics.json").write_text("{")
    card = model_card(checkpoint(), folder / "checkpoints/nearest-2/017.ckpt")
    assert card["leakage"].startswith("unknown: ")
    assert "run `audit` again" in card["leakage"]


def test_the_card_of_a_real_checkpoint_is_in_its_exported_file(study: Path, tmp_path: Path) -> None:
    path, output = study / "checkpoints/nearest-1.58/000.ckpt", tmp_path / "x.safetensors"
    main(["--ckpt", str(path), "--output", str(output)])
    card = read_packed(output).about["card"]
    assert card == json.loads(json.dumps(model_card(read_checkpoint(path), path)))
    assert (card["dataset"], card["method"], card["bits"]) == ("digits", "nearest", 1.58)
    assert card["recipe"]["optimizer"]["class_path"].startswith("torch.optim.")


def test_a_network_of_ones_own_has_the_card_that_it_was_given(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    small = quantize(net, torch.randn(16, 4), Nearest(), bits=2)
    card = read_packed(small.export(tmp_path / "x.safetensors", card={"dataset": "mine", "accuracy": 0.7})).about[
        "card"
    ]
    assert (card["dataset"], card["accuracy"], card["bits"], card["leakage"]) == ("mine", 0.7, 2, NOT_AUDITED)
