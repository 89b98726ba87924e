from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_privq.dp_sgd.checks import check_network
from lit_privq.models.densenet import dense_network
from lit_privq.models.resnet import resnet50
from lit_privq.models.small import small_resnet

SHAPE = (1, 8, 8)


class Centred(nn.Module):
    """Subtracts the batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fc = nn.Linear(64, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(1))
        return self.fc(y - y.mean(dim=0))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Takes three arguments and answers two."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.fc = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(1)
        return self.fc(self.mix(x, x, x)[0].flatten(1))  # type: ignore[no-any-return]


class Borrowed(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.fc = nn.Linear(64, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1) @ self.inner.weight.T)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (small_resnet(3, width=4), r"batch norm mixes them; got layer bn1 \(BatchNorm2d\), set .*norm group"),
        (Centred(), r"layer first \(Linear\) gives none .*leave out model.dp_sgd, or build"),
        (Attention(), r"layer mix \(MultiheadAttention\) gives none"),
        (Borrowed(), r"layer inner \(Linear\) gives none \(that of its weight differs"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_network_without_gradients_of_single_examples_is_refused_by_its_layer(net: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_network(net, SHAPE)


@pytest.mark.parametrize(
    "net",
    [
        small_resnet(3, width=4, norm="group"),
        resnet50(3, in_channels=1, width=4, norm="group"),
        dense_network((2, 2), 3, in_channels=1, growth=4, norm="group"),
        nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Dropout(0.5), nn.Linear(64, 3)),
    ],
    ids=lambda net: type(net).__name__,
)
def test_a_network_of_layers_that_treat_examples_one_by_one_is_taken_and_left_as_it_was(net: nn.Module) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check_network(net.train(), SHAPE)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
