from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from tests.quantization.networks import (
    refused,
)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(x) if x.sum() > 0 else self.fc(-x))


def test_a_network_that_is_one_layer_is_told_to_give_it_a_name() -> None:
    assert "the network is a Linear itself" in refused(nn.Linear(4, 2))


def test_a_network_that_branches_on_values_is_refused() -> None:
    assert "Branching cannot be traced by torch.fx" in refused(Branching())
