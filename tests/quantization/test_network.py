from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.artifacts.codes import stored_layer
from lit_privq.export.packed import packed_bytes
from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.gram import gram, gram_and_cross
from lit_privq.quantization.method import Method
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer, check_quantizable
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.sign import Sign
from lit_privq.quantization.ternary import Absmean
from tests.quantization.networks import (
    SHORT,
    SHORT_BATCHES,
    Spy,
    Weird,
    images,
    kinds,
    lively,
    quantize,
    replace_unit,
    small,
)


def test_a_pattern_decouples_the_last_layer() -> None:
    quantizer, _ = quantize([small(0)], images(1), Nearest(), [2, {"*": 2, "fc": 8}])
    plain, decoupled = quantizer.codes(0, 0), quantizer.codes(0, 1)
    assert plain["fc"].levels.tolist() == [4]
    assert decoupled["fc"].levels.tolist() == [256]
    assert torch.equal(plain["conv1"].codes, decoupled["conv1"].codes)


@pytest.mark.parametrize("unit", ["layer", "block"])
def test_what_the_engine_advances_is_what_the_quantized_network_computes(unit: str) -> None:
    net, data = lively(Weird(), 3), images(1, 8, (2, 9, 9))
    before = copy.deepcopy(net.state_dict())
    quantizer, reports = quantize([net], data, replace_unit(unit), [4, 1.58])
    assert [report.unit for report in reports][::2] == list(quantizer.units)
    for precision in (0, 1):
        with torch.no_grad():
            wanted, got = net(data[0]), quantizer.network(0, precision)(data[0])
        error = float((wanted - got).square().sum() / wanted.square().sum())
        assert reports[-2 + precision].error == pytest.approx(error, rel=1e-4)  # float32 forward passes
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())


def test_groups_become_matrices_of_their_own_and_come_back() -> None:
    net, spy = lively(Weird(), 3), replace_unit("layer")
    quantizer, _ = quantize([net], images(1, 4, (2, 9, 9)), spy, [4, 2])
    asked = {name: layer for problem in spy.asked for name, layer in problem.layers.items()}
    assert asked["grouped"].weight.shape == (2 * 2, 4, 18)  # (precisions * groups, rows, columns)
    assert asked["depthwise"].levels.tolist() == [16] * 8 + [4] * 8
    assert quantizer.codes(0, 1)["depthwise"].codes.shape == (1, 8, 9)


@pytest.mark.parametrize("method", [Nearest(), SHORT, SHORT_BATCHES], ids=["nearest", "linear", "batches"])
def test_only_weights_change_and_each_channel_has_at_most_levels_values(method: Method) -> None:
    net = small(1)
    quantizer, reports = quantize([net], images(1), method, [4, 1.58, 1])
    for precision, levels in enumerate((16, 3, 2)):
        state, layers = quantizer.network(0, precision).state_dict(), quantizer.codes(0, precision)
        for name, value in net.state_dict().items():
            layer = name.removesuffix(".weight")
            if layer in layers:
                assert max(len(row.unique()) for row in state[name].flatten(1)) <= levels
                assert torch.equal(state[name].flatten(1), layers[layer].weight()[0])
            else:
                assert torch.equal(state[name], value)
        assert max(report.distinct for report in reports if report.precision == precision) <= levels


@pytest.mark.parametrize("method", [Nearest(), SHORT, SHORT_BATCHES], ids=["nearest", "linear", "batches"])
def test_many_models_and_precisions_at_once_equal_each_alone(method: Method) -> None:
    nets, data, bits = [small(seed) for seed in range(3)], images(3), [2, 1.58]
    together, reports = quantize(nets, data, method, [*bits])
    for model, net in enumerate(nets):
        for precision, one in enumerate(bits):
            alone = NetworkQuantizer([net], data[model : model + 1], method, [one], [model])
            own = [alone.step()[0] for _ in alone.units]
            for name, quantized in alone.codes(0, 0).items():
                same = (together.codes(model, precision)[name].codes == quantized.codes).double().mean()
                assert same > 0.97, name  # rounding of float32 sums may decide a tie, and shift what follows
            errors = [report.error for report in reports if (report.model, report.precision) == (model, precision)]
            assert errors == pytest.approx([report.error for report in own], rel=0.05)


def test_the_batch_size_does_not_matter() -> None:
    whole, _ = quantize([small(2)], images(1), SHORT, [2])
    parts, _ = quantize([small(2)], images(1), SHORT, [2], batch_size=5)
    assert torch.equal(whole.codes(0, 0)["fc"].codes, parts.codes(0, 0)["fc"].codes)


def test_the_order_of_the_images_does_not_matter_to_gram_matrices() -> None:
    first, second = (Spy(Nearest()) for _ in range(2))
    data = images(1)
    quantize([small(2)], data, first, [2])
    quantize([small(2)], data.flip(1), second, [2])
    for one, other in zip(first.asked, second.asked, strict=True):
        name = one.name
        torch.testing.assert_close(one.layers[name].gram, other.layers[name].gram, rtol=1e-4, atol=1e-6)  # float32


def test_gram_matrices_are_those_of_the_quantized_prefix_against_the_float_network() -> None:
    spy, net, data = Spy(Nearest()), small(2), images(1)
    quantizer, _ = quantize([net], data, spy, [4, 2])
    layer = cast(nn.Conv2d, net.get_submodule("layer2.0.conv1"))
    seen: list[Tensor] = []
    for one in (net, quantizer.network(0, 0), quantizer.network(0, 1)):
        one.get_submodule("layer2.0.conv1").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.no_grad():
            one(data[0])
    own, cross = gram_and_cross(layer, seen[0], torch.stack(seen[1:]))
    problem = next(one for one in spy.asked if one.name == "layer2.0.conv1").layers["layer2.0.conv1"]
    torch.testing.assert_close(problem.gram, own.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(problem.cross, cross.float(), rtol=1e-4, atol=1e-5)


def test_float_inputs_give_the_float_gram_matrix_to_all_precisions() -> None:
    spy, net, data = Spy(Nearest(), inputs="float"), small(2), images(1)
    quantize([net], data, spy, [4, 2])
    layer, seen = cast(nn.Conv2d, net.get_submodule("layer1.0.conv2")), list[Tensor]()
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(data[0])
    problem = next(one for one in spy.asked if one.name == "layer1.0.conv2").layers["layer1.0.conv2"]
    assert problem.cross is None
    torch.testing.assert_close(problem.gram, gram(layer, seen[0]).float().expand(2, -1, -1), rtol=1e-4, atol=1e-5)


def test_one_vectorised_call_for_all_models_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, data = [lively(Weird(), seed) for seed in range(2)], images(2, 4, (2, 9, 9))
    _, one_by_one = quantize(nets, data, Nearest(), [4])
    monkeypatch.setattr("lit_privq.quantization.network._vectorises", lambda device: True)
    _, vectorised = quantize(nets, data, Nearest(), [4])
    assert [report.error for report in vectorised] == pytest.approx([report.error for report in one_by_one], rel=1e-4)


def test_each_image_runs_through_each_layer_once_per_network(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = NetworkQuantizer([small(0)], images(1, 12), Nearest(), [4, 2, 1.58], [0])
    counted, original = list[int](), nn.Conv2d._conv_forward

    def counting(self: nn.Conv2d, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        counted.append(len(inputs))
        return cast(Tensor, original(self, inputs, weight, bias))

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", counting)
    for _ in quantizer.units:
        quantizer.step()
    assert sum(counted) == 6 * 12 * (1 + 3)  # convolutions, images, the float network and its three copies


@pytest.mark.parametrize(("examples", "deficient"), [(10, True), (200, False)])
def test_dead_inputs_and_rank_deficient_statistics_are_reported(examples: int, deficient: bool) -> None:
    data = torch.randn(1, examples, 24, generator=torch.Generator().manual_seed(1))
    data[:, :, 3:5] = 0
    net = nn.Sequential(nn.Linear(24, 4)).eval()
    _, (report,) = quantize([net], data, Spy(Nearest()), [2])
    assert (report.dead, report.deficient) == (2, deficient)


def test_values_are_dropped_after_their_last_use() -> None:
    quantizer, _ = quantize([small(0)], images(1), Nearest(), [2])
    assert not quantizer._prefix.float
    assert not quantizer._prefix.quantized


def test_a_layer_that_does_not_keep_its_codes_is_never_handed_out_as_quantized() -> None:
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    quantizer, _ = quantize([net], torch.randn(1, 4, 4), Nearest(), [2])
    nn.utils.parametrizations.weight_norm(net[0])
    with pytest.raises(ValueError, match="layer 0 does not keep the weight"):
        quantizer.network(0, 0)


def test_networks_can_be_taken_only_when_all_units_are_done() -> None:
    quantizer = NetworkQuantizer([small(0)], images(1), Nearest(), [2], [0])
    quantizer.step()
    with pytest.raises(ValueError, match="not quantized yet"):
        quantizer.network(0, 0)
    for _ in quantizer.units[1:]:
        quantizer.step()
    with pytest.raises(ValueError, match="all 7 units are quantized"):
        quantizer.step()


class Mixed(nn.Module):
    """A residual of layers whose shapes repeat, so that one unit holds a layer that stays float."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(x + self.b(torch.relu(self.a(x)))))


@pytest.mark.parametrize(
    "method", [OBC(), Nearest(), BRECQ(iterations=6, lr=0.3, batch_size=8)], ids=["obc", "nearest", "brecq"]
)
def test_a_layer_that_stays_float_at_one_precision_of_several_does_as_it_does_alone(method: Method) -> None:
    nets: list[nn.Module] = [Mixed(seed).eval() for seed in range(2)]
    data, bits = torch.randn(2, 16, 4), [{"*": 2, "b": 32}, 2, {"*": 3, "a": 32}]
    together, reports = quantize(nets, data, method, [*bits])
    for model, net in enumerate(nets):
        for precision, one in enumerate(bits):
            alone = NetworkQuantizer([net], data[model : model + 1], method, [one], [model])
            own = [report for _ in alone.units for report in alone.step()]
            ours, theirs = together.network(model, precision), alone.network(0, 0)
            torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)
            assert together.codes(model, precision).keys() == alone.codes(0, 0).keys()
            assert together.float_weights(precision) == alone.float_weights(0) == (["b"], [], ["a"])[precision]
            shown = [report for report in reports if (report.model, report.precision) == (model, precision)]
            assert [report.unit for report in shown if method.unit == "layer"] == [
                report.unit for report in own if method.unit == "layer"
            ]
            assert shown[-1].error == pytest.approx(own[-1].error, rel=1e-3, abs=1e-9)


def test_a_network_of_several_types_keeps_each_layers_own() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    net.scale = nn.Parameter(torch.ones((), dtype=torch.float64))  # the first parameter, of another type
    assert next(net.parameters()).dtype == torch.float64
    quantizer, _ = quantize([net], torch.randn(1, 8, 4), OBC(), [2])
    made, codes = quantizer.network(0, 0), quantizer.codes(0, 0)
    assert [one.codes.dtype for one in codes.values()] == [torch.float32] * 2
    layers = {name: stored_layer(made, name, one, 2) for name, one in codes.items()}
    assert packed_bytes(made.state_dict(), layers, {})


# ------------------------------------------------------------------------------------------------ before a study


def test_what_would_stop_a_quantization_is_found_on_random_images_in_no_time() -> None:
    net = small(0).train()
    before = copy.deepcopy(net.state_dict())
    check_quantizable(net, BRECQ(), [4, {"*": 1, "fc": 32}], (1, 8, 8))  # 20,000 iterations are not made
    check_quantizable(net, AdaRound(start=OBC()), [2], (1, 8, 8), n_models=4)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("net", "method", "bits", "sentence"),
    [
        (small_resnet(num_classes=3, width=4), Sign(), [2], "a sign has 2 levels; got .4., set bits to 1"),
        (small_resnet(num_classes=3, width=4), Sign(), [{"*": 1, "fc": 8}], "a sign has 2 levels; got"),
        (small_resnet(num_classes=3, width=4), Absmean(), [4, 1], "ternary weights need 3 levels; got 2"),
        (small_resnet(num_classes=3, width=4), OBC(), [{"*": 2, "last": 8}], "'last' of bits matches no layer"),
        (small_resnet(num_classes=3, width=4, in_channels=3), OBC(), [2], "does not run on its calibration images"),
        (nn.Sequential(nn.Unflatten(3, (4, 2)), nn.Conv3d(1, 1, 1)), OBC(), [2], "layer 1 is a Conv3d"),
    ],
    ids=["levels", "levels of a layer", "levels of a precision", "pattern", "images", "kind"],
)
def test_what_would_stop_a_quantization_is_said_at_once(
    net: nn.Module, method: Method, bits: list[Bits], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_quantizable(net, method, bits, (1, 8, 8))


def test_memory_is_checked_for_all_models_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_privq.quantization.checks.free_memory", lambda device: 2**22)
    check_quantizable(small(0), OBC(), [2], (1, 8, 8))
    with pytest.raises(ValueError, match="for 64 models and precisions"):
        check_quantizable(small(0), OBC(), [2], (1, 8, 8), n_models=64)


@pytest.mark.parametrize("kind", kinds())
def test_one_vectorised_call_takes_every_kind_of_layer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [kinds()[kind][0].eval() for _ in range(2)]
    data = torch.rand(2, 8, *kinds()[kind][1], generator=torch.Generator().manual_seed(2))
    for method in (OBC(damping=0.1), BRECQ(iterations=3, lr=0.1, batch_size=4)):
        _, one_by_one = quantize(nets, data, method, [4, 2])
        with monkeypatch.context() as patch:
            patch.setattr("lit_privq.quantization.network._vectorises", lambda device: True)
            _, vectorised = quantize(nets, data, method, [4, 2])
        for one, other in zip(one_by_one, vectorised, strict=True):
            assert one.error == pytest.approx(other.error, rel=1e-2, abs=1e-9)  # float32 sums may decide a tie
