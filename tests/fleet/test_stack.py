from __future__ import annotations

import pytest
import torch
from torch import nn

from lit_privq.fleet.stack import Way
from lit_privq.fleet.ways import stack


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_a_wrong_number_of_batches_is_refused(how: Way) -> None:
    stacked = stack([nn.Linear(4, 2) for _ in range(3)], how, (4,))
    images = torch.zeros(3, 5, 4)
    with pytest.raises(ValueError, match="each of 3 networks; got 2"):
        stacked(images[:2])
    with pytest.raises(ValueError, match="each of 1 networks; got 2"):
        stacked(images[:2], [0])
