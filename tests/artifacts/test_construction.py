from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from lit_privq.artifacts.construction import build, network_name, plain, recorded, spec_of
from lit_privq.data.digits import Digits
from lit_privq.models.small import small_resnet


@pytest.mark.parametrize(
    "net",
    [
        small_resnet(7, width=4),
        recorded(torchvision.models.resnet18)(num_classes=7),
        recorded(nn.Linear)(3, 7, bias=False),
        build({"class_path": "torch.nn.Linear", "init_args": {"in_features": 3, "out_features": 7}}),
    ],
    ids=["ours", "torchvision", "torch", "built"],
)
def test_a_network_that_notes_how_it_was_made_can_be_made_again(net: nn.Module) -> None:
    spec = spec_of(net)
    assert spec is not None
    assert repr(build(spec)) == repr(net)


def test_a_network_of_which_nothing_is_noted_has_no_spec() -> None:
    assert spec_of(nn.Linear(1, 1)) is None
    assert plain({"net": nn.Linear(1, 1)}) == {"net": None}


def test_objects_become_class_paths_and_what_has_no_name_becomes_none() -> None:
    assert plain(functools.partial(torch.optim.SGD, lr=0.1, betas=(1, 2))) == {
        "class_path": "torch.optim.sgd.SGD", "init_args": {"lr": 0.1, "betas": [1, 2]},
    }  # fmt: skip
    assert plain(Digits(pool_size=61)) == {
        "class_path": "lit_privq.data.digits.Digits", "init_args": {"pool_size": 61},
    }  # fmt: skip
    assert plain([lambda: None, functools.partial(lambda: None), Path("a")]) == [None, None, "a"]


def test_a_network_within_a_network_is_built_too_and_names_tell_widths() -> None:
    linear = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 1}}
    inner = build({"class_path": "torch.nn.TransformerEncoder", "init_args": {
        "num_layers": 1, "enable_nested_tensor": False,
        "encoder_layer": {"class_path": "torch.nn.TransformerEncoderLayer", "init_args": {"d_model": 4, "nhead": 1}},
    }})  # fmt: skip
    assert isinstance(inner, nn.TransformerEncoder)
    assert network_name(linear) == "Linear"
