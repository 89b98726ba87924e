"""Every method on another device: nothing is mixed with the CPU's tensors, nothing is drawn there, same result."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lit_privq.quantization.batchnorm import tune_batch_norm
from lit_privq.quantization.network import NetworkQuantizer
from tests.quantization.elsewhere import ELSEWHERE, Elsewhere, ElsewhereTensor, moved
from tests.quantization.test_battery import METHODS, every_method


class Tiny(nn.Module):
    """A residual, a batch norm, and few columns, as every operation on another device is slow here."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3)
        self.again, self.head = nn.Conv2d(3, 3, 1), nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        first = torch.relu(self.norm(self.conv(images)))
        both: Tensor = self.head(torch.relu(first + self.again(first)).flatten(1))
        return both


def images() -> Tensor:
    return torch.randn(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    torch.manual_seed(0)
    return Tiny().eval()


def solved(name: str, net: nn.Module, data: Tensor) -> list[dict[str, Tensor]]:
    """State dicts at all of the method's precisions."""
    method, bits = METHODS[name]
    quantizer = NetworkQuantizer([net], data, method, bits, seeds=[5])
    for _ in quantizer.units:
        quantizer.step()
    return [quantizer.network(0, precision).state_dict() for precision in range(len(bits))]


@every_method
def test_another_device_gives_the_same_networks(name: str) -> None:
    here = solved(name, network(), images())
    with Elsewhere():
        there = solved(name, moved(copy.deepcopy(network())), ElsewhereTensor(images()))
    for one, other in zip(here, there, strict=True):
        for key, value in other.items():
            assert isinstance(value, ElsewhereTensor)
            torch.testing.assert_close(value.held, one[key], rtol=1e-6, atol=1e-7)


def test_batch_norms_are_tuned_on_another_device() -> None:
    here, there = network(), moved(network())
    tune_batch_norm(here, images()[0], seed=3, n_batches=2, batch_size=8)
    with Elsewhere():
        tune_batch_norm(there, ElsewhereTensor(images()[0]), seed=3, n_batches=2, batch_size=8)
    assert isinstance(there.norm.running_var, ElsewhereTensor)
    torch.testing.assert_close(there.norm.running_var.held, here.norm.running_var)


def test_the_device_is_as_strict_as_a_gpu() -> None:
    with Elsewhere():
        there, here = torch.ones(2, device=ELSEWHERE), torch.ones(2)
        assert isinstance(there, ElsewhereTensor)
        assert (there + 1).tolist() == (there.cpu() + torch.tensor(1.0)).tolist() == [2.0, 2.0]
        index, one = torch.tensor([0, 1]), torch.tensor(1.0)
        assert there[index].tolist() == [1.0, 1.0]
        for mixed in (
            lambda: there + here,
            lambda: here.add_(there),
            lambda: here[there.long()],
            lambda: there @ here,
            lambda: there.__setitem__(index, here),
            lambda: torch.stack([there.sum(), one]),
        ):
            with pytest.raises(RuntimeError, match="on the CPU and elsewhere"):
                mixed()
        with pytest.raises(RuntimeError, match="holds nothing"):
            torch.tensor([1.0, 2.0], device=ELSEWHERE) + 1
        with pytest.raises(RuntimeError, match="a generator of the CPU"):
            torch.rand(2, device=ELSEWHERE, generator=torch.Generator())
