from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lit_privq.fleet.checks import CannotStack
from lit_privq.fleet.stack import Way
from lit_privq.fleet.ways import first_fit, stack
from lit_privq.models.densenet import dense_network
from lit_privq.models.small import small_resnet

CLASSES = 5
SHAPE = (3, 8, 8)


def small(size: int) -> list[nn.Module]:
    return [small_resnet(CLASSES, in_channels=3, width=4).double() for _ in range(size)]


def test_a_network_that_joins_channels_is_not_grouped_and_the_layer_is_named() -> None:
    with pytest.raises(CannotStack, match=r"GroupedStack.*input of layer denseblock1\.1\.norm1 \(BatchNorm2d\)"):
        stack([dense_network((2, 2), CLASSES, in_channels=3, growth=4).double() for _ in range(3)], "grouped", SHAPE)


def test_a_layer_without_a_grouped_twin_is_named_and_vmap_takes_it() -> None:
    nets = [nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, CLASSES)) for _ in range(2)]
    with pytest.raises(CannotStack, match=r"layer 1 \(LayerNorm.*has no grouped twin; use vmap"):
        stack(nets, "grouped", SHAPE)
    assert stack(nets, "vmap", SHAPE).size == 2


class Tokens(nn.Module):
    """Takes channels for places, and its linear layer acts on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(2)).sum(dim=1)  # type: ignore[no-any-return]


def test_a_layer_that_fails_in_a_group_is_named() -> None:
    with pytest.raises(CannotStack, match=r"input of layer head \(Linear\)"):
        stack([Tokens(), Tokens()], "grouped", SHAPE)


class Undecided(nn.Module):
    """Looks at its data, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x.flatten(1))
        return y if y.sum() > 0 else -y


def test_a_network_that_looks_at_its_data_is_not_stacked_by_vmap_and_the_place_is_named() -> None:
    with pytest.raises(CannotStack, match=r"VmapStack.*output of layer fc \(Linear\).*train alone"):
        stack([Undecided(), Undecided()], "vmap", SHAPE)


class HiddenDropout(nn.Module):
    """Dropout that no list of layers shows."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.dropout(x.flatten(1), training=self.training))  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_dropout_is_named_and_refused(how: Way) -> None:
    nets = [nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(192, CLASSES)) for _ in range(2)]
    with pytest.raises(CannotStack, match=r"layer 1 \(Dropout\) draws random numbers"):
        stack(nets, how, SHAPE)
    with pytest.raises(CannotStack, match=r"layer fc \(Linear\) draws random numbers"):
        stack([HiddenDropout(), HiddenDropout()], how, SHAPE)


def test_dropout_is_welcome_in_a_network_alone() -> None:
    assert stack([HiddenDropout()], "alone", SHAPE).size == 1


def test_networks_of_different_shape_are_refused_and_the_model_is_named() -> None:
    nets = [*small(3), small_resnet(CLASSES, in_channels=3, width=6).double()]
    with pytest.raises(CannotStack, match=r"model 0 has conv1.weight \(4, 3, 3, 3\).*model 3 has .*\(6, 3, 3, 3\)"):
        stack(nets, "grouped", SHAPE)


def test_networks_that_differ_in_what_has_no_shape_are_refused() -> None:
    nets = [nn.Sequential(nn.Conv2d(3, 4, 3, stride=stride), nn.Flatten()) for stride in (1, 2)]
    with pytest.raises(CannotStack, match=r"model 0 has .*stride=\(1, 1\).*model 1 has .*stride=\(2, 2\)"):
        stack(nets, "alone", SHAPE)


def test_shared_parameters_are_refused() -> None:
    def tied() -> nn.Module:
        layer = nn.Linear(192, 192)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(192, 192)).requires_grad_(True)

    nets = [tied(), tied()]
    for net in nets:
        net.get_submodule("3").weight = net.get_parameter("1.weight")
    with pytest.raises(CannotStack, match=r"3\.weight is shared"):
        stack(nets, "grouped", SHAPE)


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.b(input=torch.relu(self.a(x))))


def test_networks_that_call_a_layer_by_keyword_are_stacked() -> None:
    nets: list[nn.Module] = [Keyword(), Keyword()]
    stacked, refused = first_fit(nets, (6,))
    assert stacked.way == "vmap"
    assert "the input of layer b (Linear)" in refused[0]
    images = torch.randn(2, 5, 6)
    torch.testing.assert_close(stacked(images)[1], nets[1](images[1]))
