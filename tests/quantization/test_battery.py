"""What every method must do to a whole network: one line in `QUANTIZERS` or `PRUNINGS` for a new one."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from lit_privq.artifacts.codes import stored_layer
from lit_privq.export.packed import load_packed, packed_bytes
from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.batchnorm import tunable, tune_batch_norm
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.descent import Descent
from lit_privq.quantization.gptq import GPTQ
from lit_privq.quantization.grid import RangeZeroSearch
from lit_privq.quantization.layers import modules_of
from lit_privq.quantization.magnitude_prune import MagnitudePrune
from lit_privq.quantization.method import Method, levels_from_bits
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.obc_prune import OBCPrune
from lit_privq.quantization.sign import BWN, Sign
from lit_privq.quantization.ternary import Absmean, SparseTernary
from tests.quantization.networks import kinds

CONFIGS = Path(__file__).parents[2] / "configs/ptq"
QUICK = Descent(rounds=4, sweeps=4, pair_sweeps=1)
ANY, FROM_THREE = [1, 1.58, 2, 4], [1.58, 2, 4]
QUANTIZERS: dict[str, tuple[Method, list[float]]] = {  # and its bits: 2, 3, 4 and 16 levels, where it allows them
    "nearest": (Nearest(), ANY),
    "nearest by output": (Nearest(grid=RangeZeroSearch(by_output=True), refitted=True), ANY),
    "sign": (Sign(), [1]),
    "bwn": (BWN(), [1]),
    "ternary": (SparseTernary(), FROM_THREE),
    "absmean": (Absmean(), FROM_THREE),
    "adaround": (AdaRound(iterations=6, lr=0.3, batch_size=8), ANY),
    "adaround, linear target": (AdaRound(iterations=6, lr=0.3, linear_target=True), ANY),
    "brecq": (BRECQ(iterations=6, lr=0.3, batch_size=8), ANY),
    "brecq, fisher": (BRECQ(iterations=6, lr=0.3, batch_size=8, fisher=True), ANY),
    "obc": (OBC(damping=0.1), ANY),
    "obc, sequential": (OBC(damping=0.1, inputs="quantized"), ANY),
    "gptq": (GPTQ(damping=0.1), ANY),
    "descent": (replace(QUICK, damping=0.1), ANY),
    "adaround from descent": (AdaRound(iterations=6, lr=0.3, batch_size=8, start=QUICK), ANY),
    "brecq from descent": (BRECQ(iterations=6, lr=0.3, batch_size=8, start=QUICK), ANY),
}
PRUNINGS: dict[str, tuple[Method, list[float]]] = {
    "magnitude prune": (MagnitudePrune(), ANY),
    "obc prune": (OBCPrune(damping=0.1), ANY),
    "obc prune, sequential": (OBCPrune(damping=0.1, inputs="quantized"), ANY),
}
METHODS = QUANTIZERS | PRUNINGS

every_method = pytest.mark.parametrize("name", METHODS)
every_quantizer = pytest.mark.parametrize("name", QUANTIZERS)
every_pruning = pytest.mark.parametrize("name", PRUNINGS)
every_kind = pytest.mark.parametrize("kind", kinds())
every_gram_method = pytest.mark.parametrize(
    "name", [name for name, (one, _) in METHODS.items() if one.needs_gram and not one.needs_activations]
)


def images() -> Tensor:
    return torch.randn(1, 32, 1, 8, 8, generator=torch.Generator().manual_seed(9))


@functools.cache
def network() -> nn.Module:
    """Batch norms, a residual with a shortcut layer, and a linear head; its statistics fit the images."""
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=4).eval()
    tune_batch_norm(net, images()[0], seed=0, n_batches=1)
    return net


def solved(name: str, data: Tensor, net: nn.Module | None = None) -> NetworkQuantizer:
    """By the method of this name, at all its precisions."""
    method, bits = METHODS[name]
    quantizer = NetworkQuantizer([net or network()], data, method, bits, seeds=[5])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer


@functools.cache
def quantized(name: str) -> NetworkQuantizer:
    return solved(name, images())


def precisions(name: str) -> range:
    return range(len(METHODS[name][1]))


def test_the_method_of_every_shipped_config_is_in_the_battery() -> None:
    files = [yaml.safe_load(path.read_text()) for path in CONFIGS.glob("**/*.yaml")]
    solvers = [file["model"] for file in files if file["model"]["class_path"] == "lit_privq.Calibration"]
    shipped = {solver["init_args"]["method"]["class_path"] for solver in solvers}
    assert shipped
    assert shipped <= {f"lit_privq.quantization.{type(one).__name__}" for one, _ in METHODS.values()}


@every_quantizer
def test_an_output_channel_holds_at_most_its_levels(name: str) -> None:
    for precision, bits in enumerate(METHODS[name][1]):
        net = quantized(name).network(0, precision)
        layers = [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        assert len(layers) == 7
        most = max(len(channel.unique()) for layer in layers for channel in layer.weight.flatten(1))
        assert most <= levels_from_bits(bits)


@every_pruning
def test_a_pruned_network_takes_no_more_bytes_than_a_quantized_one_and_nearly_as_many(name: str) -> None:
    """But for the file's list of tensors, which names other parts of each layer."""
    for precision, bits in enumerate(PRUNINGS[name][1]):
        sizes = []
        for one, which in ((name, precision), ("nearest", ANY.index(bits))):
            made = quantized(one).network(0, which)
            layers = {key: stored_layer(made, key, own, bits) for key, own in quantized(one).codes(0, which).items()}
            sizes.append(len(packed_bytes(made.state_dict(), layers, {})))
        assert 0.93 * sizes[1] < sizes[0] <= sizes[1]


@every_kind
@every_method
def test_a_network_of_any_kind_of_layers_comes_back_from_the_packed_file_bit_for_bit(
    name: str, kind: str, tmp_path: Path
) -> None:
    """An output channel of a quantized one holds at most its levels: a feature of a linear layer and of the projections
    of attention, the vector of one token of an embedding, and a channel of a convolution, which in the weight of a
    transposed one is (groups, in, out).
    """
    net, shape = copy.deepcopy(kinds()[kind])
    net.eval()
    method, bits = METHODS[name]
    data = torch.rand(1, 12, *shape, generator=torch.Generator().manual_seed(2))
    quantizer = NetworkQuantizer([net], data, method, bits, seeds=[5])
    for _ in quantizer.units:
        quantizer.step()
    for precision, one in enumerate(bits):
        made, codes = quantizer.network(0, precision), quantizer.codes(0, precision)
        assert quantizer.float_weights(precision) == []
        layers = {layer: stored_layer(made, layer, own, one) for layer, own in codes.items()}
        path = tmp_path / f"{precision}.safetensors"
        path.write_bytes(packed_bytes(made.state_dict(), layers, {}))
        read = load_packed(path, copy.deepcopy(net))
        with torch.no_grad():
            assert torch.equal(read(data[0]), made(data[0]))
        weights = [value for key, value in read.state_dict().items() if value.ndim > 1]
        assert len(weights) == len(layers)  # each weight of each network is one of a layer's
        for layer, own in modules_of(read).items():
            if layer in layers and name in QUANTIZERS:
                channels = output_channels(own)
                assert len(channels) == len(layers[layer]["codes"])
                assert max(len(channel.unique()) for channel in channels) <= levels_from_bits(one)


def output_channels(layer: nn.Module) -> list[Tensor]:
    """The weights of each output channel."""
    assert isinstance(layer.weight, Tensor)
    if not isinstance(layer, nn.ConvTranspose2d):
        return list(layer.weight)
    return [own[:, channel] for own in layer.weight.chunk(layer.groups) for channel in range(own.shape[1])]


@every_method
def test_the_same_seeds_give_the_same_networks_bit_for_bit(name: str) -> None:
    first, second = quantized(name), solved(name, images())
    for precision in precisions(name):
        one, other = (quantizer.network(0, precision).state_dict() for quantizer in (first, second))
        assert all(torch.equal(value, other[key]) for key, value in one.items())


@every_gram_method
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    """Of weights in float64: in float32 sums of another order round a weight near a tie the other way, and the others
    answer it; and codes on two grids may stand for the same weights.
    """
    net, data = copy.deepcopy(network()).double(), images().double()
    first, second = (solved(name, order, net) for order in (data, data.flip(1)))
    for precision in precisions(name):
        torch.testing.assert_close(*(quantizer.network(0, precision).state_dict() for quantizer in (first, second)))


@every_method
def test_nothing_but_the_weights_of_layers_changes(name: str) -> None:
    before = network().state_dict()
    for precision in precisions(name):
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
