from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from lit_privq.fleet.ways import first_fit


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
