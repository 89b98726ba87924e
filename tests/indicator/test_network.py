from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from lit_privq.data.task import Classification, Regression
from lit_privq.indicator import network
from lit_privq.indicator.network import Examples, Weights, codebooks, layers_of, network_runs
from lit_privq.indicator.quantizers import Quantizer, compared_quantizers
from lit_privq.indicator.shadows import ShadowRuns
from lit_privq.models.small import small_resnet
from lit_privq.quantization.grid import RangeZeroSearch
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.sign import BWN

SIGN = {"sign": Quantizer(BWN(), 1)}
META = {"n": 4, "data": "tiny", "net": "line", "every": 1}


def estimated(
    net: nn.Module, snapshots: list[Weights], quantizers: Mapping[str, Quantizer], examples: Examples, model: int = 0
) -> ShadowRuns:
    (books,) = codebooks(net, snapshots[-1:], quantizers)
    return network_runs(net, snapshots, books, examples, examples, model, META)


def line(*weights: float, bias: float | None = None) -> ShadowRuns:
    """One weight and squared errors of two examples, x = 1 and y = 2 and 1, after each of these weights."""
    net = nn.Linear(1, 1, bias=bias is not None)
    with torch.no_grad():
        net.weight.fill_(weights[-1])
        if bias is not None:
            net.bias.fill_(bias)
    examples = Examples(torch.ones(2, 1), torch.tensor([2.0, 1.0]), Regression(variance=1.0))
    snapshots: list[Weights] = [{"": torch.full((1, 1), weight)} for weight in weights]
    return estimated(net.eval(), snapshots, SIGN, examples, model=7)


def test_a_line_of_one_weight_by_hand() -> None:
    found = line(-1.0, 2.0)
    # sign: the codebook is -2, 2 with losses 16, 9 and 0, 1; gaps 16 and 8, mean 12, variance 16
    # full: -1 and 2 with losses 9, 4 and 0, 1; gaps 9 and 3, mean 6, variance 9
    assert found.r.tolist() == [[144 / 32], [36 / 18]]
    assert found.best.tolist() == [[1], [1]]
    assert found.performance.tolist() == [[0.5], [0.5]]  # 1 - mean squared error / variance
    assert found.codes.tolist() == [[[1]]]
    assert (found.models.tolist(), found.n, found.meta["kind"], found.meta["metric"]) == ([7], 4, "regression", "r2")


def test_equal_codes_count_once_and_one_codeword_has_no_rival() -> None:
    assert line(-1.0, 3.0, 2.0).distinct.tolist() == [[2], [3]]
    alone = line(1.0, 3.0, 2.0)
    assert alone.distinct.tolist() == [[1], [3]]
    assert alone.censored.tolist() == [1.0, 0.0]


def test_what_is_not_quantized_stays_as_training_left_it() -> None:
    # with the bias 1 the answers are 0 and 3: losses 4, 1 and 1, 4; equal means, gaps 3 and -3
    found = line(-1.0, 2.0, bias=1.0)
    assert found.gaps.mean[1, 0, 1 - int(found.best[1, 0])] == 0.0
    assert found.gaps.variance[1, 0, 1 - int(found.best[1, 0])] == 9.0


@pytest.fixture(scope="module")
def small() -> tuple[nn.Module, list[Weights], Examples]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=4).eval()
    final = {name: layer.weight.detach() for name, layer in layers_of(net).items()}
    earlier = {name: weight + 0.02 * torch.randn(weight.shape, generator=generator) for name, weight in final.items()}
    inputs = torch.randn(30, 1, 8, 8, generator=generator)
    return net, [earlier, final], Examples(inputs, torch.arange(30) % 3, Classification(3))


def test_final_codes_are_those_that_the_quantization_engine_finds(
    small: tuple[nn.Module, list[Weights], Examples],
) -> None:
    net, snapshots, examples = small
    method = Nearest(grid=RangeZeroSearch())
    engine = NetworkQuantizer([net], examples.inputs[None], method, [2], [0])
    for _ in engine.units:
        engine.step()
    theirs = engine.codes(0, 0)
    found = estimated(net, snapshots, {"uniform-2": Quantizer(method, 2)}, examples)
    flat = torch.cat([theirs[name].codes.flatten() for name in layers_of(net)])
    assert found.codes[0, 0].tolist() == flat.tolist()


def test_every_compared_quantizer_is_estimated_on_a_residual_network(
    small: tuple[nn.Module, list[Weights], Examples],
) -> None:
    net, snapshots, examples = small
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = estimated(net, snapshots, compared_quantizers(), examples)
    assert found.quantizers == (*compared_quantizers(), "full")
    assert found.bits.tolist() == [*(one.bits for one in compared_quantizers().values()), 32]
    assert found.gap_mean.shape == (12, 1, 2)
    assert found.codes.shape == (11, 1, sum(layer.weight.numel() for layer in layers_of(net).values()))
    assert (found.r > 0).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_grouped_convolution_has_codebooks_of_its_own_in_every_model() -> None:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(6, 2)).eval()
    models: list[Weights] = [
        {name: torch.randn(layer.weight.shape, generator=generator) for name, layer in layers_of(net).items()}
        for _ in range(3)
    ]
    together = codebooks(net, models, compared_quantizers())
    for weights, books in zip(models, together, strict=True):
        (alone,) = codebooks(net, [weights], compared_quantizers())
        for name, book in books.items():
            for layer, frozen in book.maps.items():
                assert torch.equal(frozen.step, alone[name].maps[layer].step)
                assert frozen.scale.shape == ((2, 3, 1) if layer == "0" else (1, 2, 1))


def test_of_a_large_network_the_codes_of_the_same_weights_are_kept(
    small: tuple[nn.Module, list[Weights], Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, snapshots, examples = small
    whole = estimated(net, snapshots, SIGN, examples).codes[0, 0]
    monkeypatch.setattr(network, "N_CODES", 50)
    one, other = (estimated(net, snapshots, SIGN, examples, model).codes for model in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (1, 1, 50)
    assert abs(one.mean() - whole.mean()) < 0.25
