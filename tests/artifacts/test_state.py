from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from lit_privq.artifacts.state import detached, load_state, mapped, versions_of, with_prefix, without_prefix


def test_versions_survive_a_prefix_and_a_file(tmp_path: Path) -> None:
    state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    assert versions_of(state) == {"": 1, "0": 1, "1": 2}
    inside = with_prefix(state, "net")
    assert versions_of(inside) == {"net": 1, "net.0": 1, "net.1": 2}
    assert set(inside) == {f"net.{name}" for name in state}
    torch.save(inside, tmp_path / "x.pt")
    again = without_prefix(torch.load(tmp_path / "x.pt", weights_only=True), "net")
    assert versions_of(again) == versions_of(state)
    assert all(torch.equal(value, state[name]) for name, value in again.items())


def test_a_mapped_state_keeps_names_and_versions() -> None:
    state = nn.BatchNorm2d(2).state_dict()
    doubled = mapped(state, lambda value: 2 * value)
    assert versions_of(doubled) == {"": 2}
    assert doubled["weight"].tolist() == [2, 2]
    assert detached(state)["weight"].data_ptr() != state["weight"].data_ptr()


def test_a_state_without_versions_is_taken_to_be_of_the_networks_own() -> None:
    net, other = (torchvision.models.mnasnet0_5(num_classes=2) for _ in range(2))
    load_state(net, dict(other.state_dict()))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in net.state_dict().items())


def test_a_state_of_another_network_is_refused_with_the_reason_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^Missing key\(s\) in state_dict: \"weight\", \"bias\"\.? *$"):
        load_state(nn.Linear(2, 2), OrderedDict())
