"""What every method must do to a whole network, whichever it is: one line in `METHODS` for a new one."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.batchnorm import tunable, tune_batch_norm
from lit_privq.quantization.brecq import Brecq
from lit_privq.quantization.descent import Descent
from lit_privq.quantization.grid import Search2d
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.ordered import Ordered
from lit_privq.quantization.problem import Method, levels_from_bits
from lit_privq.quantization.sign import ScaledSign, Sign
from lit_privq.quantization.ternary import Absmean, SparseTernary

QUICK = Descent(rounds=4, sweeps=4, pair_sweeps=1)
METHODS: dict[str, Method] = {
    "nearest": Nearest(),
    "nearest by output": Nearest(grid=Search2d(by_output=True), refitted=True),
    "sign": Sign(),
    "scaled sign": ScaledSign(),
    "ternary": SparseTernary(),
    "absmean": Absmean(),
    "adaround": AdaRound(iterations=6, lr=0.3, batch_size=8),
    "adaround, linear target": AdaRound(iterations=6, lr=0.3, linear_target=True),
    "brecq": Brecq(iterations=6, lr=0.3, batch_size=8),
    "brecq, fisher": Brecq(iterations=6, lr=0.3, batch_size=8, fisher=True),
    "obc": OBC(damping=0.1),
    "obc, sequential": OBC(damping=0.1, inputs="quantized"),
    "ordered": Ordered(damping=0.1),
    "descent": replace(QUICK, damping=0.1),
    "adaround from descent": AdaRound(iterations=6, lr=0.3, batch_size=8, start=QUICK),
    "brecq from descent": Brecq(iterations=6, lr=0.3, batch_size=8, start=QUICK),
}
BITS: list[float] = [1, 1.58, 2, 4]
ONLY: dict[type, list[float]] = {Sign: [1], ScaledSign: [1], SparseTernary: [1.58, 2, 4], Absmean: [1.58, 2, 4]}

every_method = pytest.mark.parametrize("name", METHODS)
every_gram_method = pytest.mark.parametrize("name", [name for name, one in METHODS.items() if one.looks_at == "gram"])


def images() -> Tensor:
    return torch.randn(1, 32, 1, 8, 8, generator=torch.Generator().manual_seed(9))


@functools.cache
def network() -> nn.Module:
    """Batch norms, a residual with a shortcut layer, and a linear head; its statistics fit the images."""
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=4).eval()
    tune_batch_norm(net, images()[0], seed=0, n_batches=1)
    return net


def bits_for(method: Method) -> list[float]:
    return ONLY.get(type(method), BITS)


def solved(method: Method, data: Tensor, net: nn.Module | None = None) -> NetworkQuantizer:
    quantizer = NetworkQuantizer([net or network()], data, method, bits_for(method), seeds=[5])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer


@functools.cache
def quantized(name: str) -> NetworkQuantizer:
    """By the method of this name, at all its precisions."""
    return solved(METHODS[name], images())


@every_method
def test_an_output_channel_holds_at_most_its_levels(name: str) -> None:
    for precision, bits in enumerate(bits_for(METHODS[name])):
        net = quantized(name).network(0, precision)
        layers = [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        assert len(layers) == 7
        most = max(len(channel.unique()) for layer in layers for channel in layer.weight.flatten(1))
        assert most <= levels_from_bits(bits)


@every_method
def test_the_same_seeds_give_the_same_networks_bit_for_bit(name: str) -> None:
    first, second = quantized(name), solved(METHODS[name], images())
    for precision in range(len(bits_for(METHODS[name]))):
        one, other = (quantizer.network(0, precision).state_dict() for quantizer in (first, second))
        assert all(torch.equal(value, other[key]) for key, value in one.items())


@every_gram_method
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    """Of weights in float64: in float32 sums of another order round a weight near a tie the other way, and the others
    answer it; and codes on two grids may stand for the same weights.
    """
    net, data = copy.deepcopy(network()).double(), images().double()
    first, second = (solved(METHODS[name], order, net) for order in (data, data.flip(1)))
    for precision in range(len(bits_for(METHODS[name]))):
        torch.testing.assert_close(*(quantizer.network(0, precision).state_dict() for quantizer in (first, second)))


@every_method
def test_nothing_but_the_weights_of_layers_changes(name: str) -> None:
    before = network().state_dict()
    for precision in range(len(bits_for(METHODS[name]))):
        after = quantized(name).network(0, precision).state_dict()
        changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
        assert changed == {f"{layer}.weight" for layer in quantized(name).codes(0, precision)}


@every_method
def test_batch_norm_tuning_changes_nothing_but_statistics(name: str) -> None:
    net = quantized(name).network(0, 0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    tune_batch_norm(net, images()[0], seed=0, n_batches=2, batch_size=16)
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.rpartition(".")[2] for key in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert len(changed) == 3 * len(tunable(net))
