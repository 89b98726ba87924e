from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import prune

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.gram import gram, gram_and_cross
from lit_privq.quantization.graph import Graph
from lit_privq.quantization.method import Method, Quantized, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import Bits, NetworkQuantizer, UnitReport, bits_of

SHORT = AdaRound(iterations=30, lr=0.1, linear_target=True)
SHORT_BATCHES = AdaRound(iterations=6, lr=0.3, batch_size=4)


def lively(net: nn.Module, seed: int) -> nn.Module:
    """A network in eval mode whose batch norms have seen something, so that none of them is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight, module.bias, module.running_mean):
                assert value is not None
                value.data = torch.rand(value.shape, generator=generator) + 0.2
    return net.eval()


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return lively(small_resnet(num_classes=3, width=4), seed)


def images(n_models: int, n_examples: int = 12, shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
    return torch.randn(n_models, n_examples, *shape, generator=torch.Generator().manual_seed(9))


def quantize(
    nets: list[nn.Module], data: Tensor, method: Method, bits: list[Bits], batch_size: int = 256
) -> tuple[NetworkQuantizer, list[UnitReport]]:
    quantizer = NetworkQuantizer(nets, data, method, bits, seeds=list(range(len(nets))), batch_size=batch_size)
    return quantizer, [report for _ in quantizer.units for report in quantizer.step()]


class Weird(nn.Module):
    """Residuals, concatenation, groups, shared and functional activations, in-place operations, views by size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.tensor([0.5]))
        self.grouped = nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(4, 4, 1)
        self.right = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, stride=2)
        self.tokens = nn.Linear(4, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n_examples = x.size(0)
        x = self.act(self.stem(x))
        y = self.norm(self.grouped(x))
        one, two = y.chunk(2, dim=1)
        one = one + self.scale * x  # a parameter in a residual
        one.relu_()
        z = torch.cat([self.act(self.left(one)), F.relu(self.right(two), inplace=True)], 1)
        z += y
        z = F.gelu(self.depthwise(self.act(z)))  # (examples, 8, h, w)
        tokens = self.tokens(z.view(n_examples, 2, 4, -1).transpose(2, 3))  # (examples, 2, positions, 4)
        return cast(Tensor, self.head(tokens.mean(2).reshape(n_examples, -1)))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(x) if x.sum() > 0 else self.fc(-x))


class Free(nn.Module):
    """Any forward over any parts."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.rule = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(self, x)


@dataclass(frozen=True)
class Spy:
    """Another method that also keeps what it was asked."""

    method: Method
    asked: list[UnitProblem] = field(default_factory=list)
    needs_gram: bool = True
    needs_activations: bool = False
    unit: str = "layer"
    inputs: str = "quantized"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        self.asked.append(problem)
        return self.method.solve(problem)


# ------------------------------------------------------------------------------------------------ bits


def test_the_last_matching_pattern_wins() -> None:
    assert bits_of("layer1.conv", {"layer1.*": 4, "*": 2}) == 2
    assert bits_of("layer1.conv", {"*": 2, "layer1.*": 4}) == 4


def test_a_layer_that_no_pattern_matches_is_named() -> None:
    with pytest.raises(ValueError, match=r"no pattern of bits matches layer layer1\.0\.conv1"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"conv1": 8, "fc": 8}], [0])


def test_a_pattern_that_matches_no_layer_is_named() -> None:
    with pytest.raises(ValueError, match="'last' of bits matches no layer; the layers are conv1"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"*": 2, "last": 8}], [0])


@pytest.mark.parametrize("bits", [0.5, 8.1, 12, 16])
def test_bits_that_no_byte_holds_are_refused_with_the_layer_before_anything_is_solved(bits: float) -> None:
    with pytest.raises(ValueError, match=f"layer fc: bits must lie between 1 and 8 .* one byte; got {bits}"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"*": 2, "fc": bits}], [0])


def test_an_empty_list_of_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="bits must hold at least one precision"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [], [0])


def test_a_pattern_decouples_the_last_layer() -> None:
    quantizer, _ = quantize([small(0)], images(1), Nearest(), [2, {"*": 2, "fc": 8}])
    plain, decoupled = quantizer.codes(0, 0), quantizer.codes(0, 1)
    assert plain["fc"].levels.tolist() == [4]
    assert decoupled["fc"].levels.tolist() == [256]
    assert torch.equal(plain["conv1"].codes, decoupled["conv1"].codes)


# ------------------------------------------------------------------------------------------------ units


def test_layer_units_end_after_norm_and_activation() -> None:
    graph = Graph(small(0), images(1)[0, :1])
    ends = {piece.name: str(piece.output) for piece in graph.pieces("layer") if piece.layers}
    assert ends == {
        "conv1": "relu",
        "layer1.0.conv1": "layer1_0_relu",
        "layer1.0.conv2": "layer1_0_bn2",  # the activation comes after the addition
        "layer2.0.conv1": "layer2_0_relu",
        "layer2.0.conv2": "layer2_0_bn2",
        "layer2.0.downsample.0": "layer2_0_downsample_1",
        "fc": "fc",
    }


def test_residual_blocks_hold_their_shortcut_and_end_after_the_activation() -> None:
    pieces = [piece for piece in Graph(small(0), images(1)[0, :1]).pieces("block") if piece.layers]
    assert [piece.name for piece in pieces] == ["conv1", "layer1.0", "layer2.0", "fc"]
    assert pieces[2].layers == ("layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0")
    assert str(pieces[2].output) == "layer2_0_relu_1"


@pytest.mark.parametrize(
    ("name", "layers", "blocks"),
    [("resnet18", 21, 10), ("resnet50", 54, 18), ("densenet121", 121, 63), ("googlenet", 58, 13)],
)
def test_units_of_public_networks_are_found_from_their_graph(name: str, layers: int, blocks: int) -> None:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    net = getattr(torchvision.models, name)(num_classes=5, **options).eval()
    data = images(1, 2, (3, 32, 32))
    for unit, wanted in (("layer", layers), ("block", blocks)):
        quantizer = NetworkQuantizer([net], data, replace_unit(unit), [4], [0])  # checks the float path too
        assert len(quantizer.units) == wanted
    if name == "densenet121":
        assert "features.denseblock1.denselayer1" in quantizer.units  # both of its convolutions


def replace_unit(unit: str) -> Spy:
    return Spy(Nearest(), needs_gram=False, unit=unit)


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


# ------------------------------------------------------------------------------------------------ results


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


# ------------------------------------------------------------------------------------------------ refusals


def refused(net: nn.Module, data: Tensor | None = None) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the callers look at the message)
        quantize([net.eval()], torch.randn(1, 4, 4) if data is None else data, Nearest(), [2])
    return str(error.value)


def test_a_layer_that_never_runs_is_named() -> None:
    net = Free(lambda parts, x: parts.used(x), used=nn.Linear(4, 2), idle=nn.Linear(4, 2))  # type: ignore[operator]
    assert "layer idle never runs" in refused(net)


@pytest.mark.parametrize(
    "computed",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        pytest.param(nn.utils.weight_norm, marks=pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")),
        lambda layer: prune.l1_unstructured(layer, "weight", 2),
    ],
    ids=["weight_norm", "spectral_norm", "old_weight_norm", "prune"],
)
def test_a_layer_that_computes_its_weight_is_named(computed: Callable[[nn.Module], nn.Module]) -> None:
    said = refused(nn.Sequential(nn.Linear(4, 4), computed(nn.Linear(4, 2))))
    assert "layer 1 computes its weight" in said
    assert "remove_parametrizations" in said


def test_a_layer_that_does_not_keep_its_codes_is_never_handed_out_as_quantized() -> None:
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    quantizer, _ = quantize([net], torch.randn(1, 4, 4), Nearest(), [2])
    nn.utils.parametrizations.weight_norm(net[0])
    with pytest.raises(ValueError, match="layer 0 does not keep the weight"):
        quantizer.network(0, 0)


class Renamed(nn.Conv2d):
    """Computes what any Conv2d computes."""


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Standardised(nn.Conv2d):
    def _conv_forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return cast(Tensor, super()._conv_forward(inputs, weight - weight.mean(), bias))


def test_a_subclass_of_a_layer_is_quantized_as_the_layer_is() -> None:
    net = nn.Sequential(Renamed(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)).eval()
    quantizer, _ = quantize([net], images(1), Nearest(), [2])
    assert quantizer.units == ("0", "2")
    assert len(quantizer.network(0, 0).get_parameter("0.weight")[0].unique()) <= 4


@pytest.mark.parametrize("kind", [Doubled, Standardised])
def test_a_subclass_with_a_forward_of_its_own_is_named(kind: type[nn.Conv2d]) -> None:
    said = refused(nn.Sequential(kind(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)), images(1))
    assert f"layer 0 is a {kind.__name__} with a forward of its own" in said
    assert "a module that holds a plain Conv2d" in said


def test_a_network_that_is_one_layer_is_told_to_give_it_a_name() -> None:
    assert "the network is a Linear itself" in refused(nn.Linear(4, 2))


def test_a_layer_whose_weight_is_used_without_calling_it_is_named() -> None:
    net = Free(lambda parts, x: F.linear(x, parts.fc.weight), fc=nn.Linear(4, 2))  # type: ignore[union-attr,arg-type]
    assert "layer fc: its weight is used by linear without calling the layer" in refused(net)
    swin = torchvision.models.swin_t(num_classes=2)
    assert "qkv: its weight is used by shifted_window_attention without" in refused(swin, images(1, 2, (3, 32, 32)))


def test_the_type_and_shape_of_a_weight_may_be_read() -> None:
    net = Free(lambda parts, x: parts.fc(x.to(parts.fc.weight.dtype)) + parts.fc.weight.size(0), fc=nn.Linear(4, 2))  # type: ignore[operator,union-attr,arg-type]
    assert quantize([net.eval()], torch.randn(1, 4, 4), Nearest(), [2])[0].units == ("fc",)


def test_a_layer_that_runs_twice_is_named() -> None:
    net = Free(lambda parts, x: parts.fc(parts.fc(x)), fc=nn.Linear(4, 4))  # type: ignore[operator]
    assert "layer fc runs 2 times" in refused(net)


def test_layers_that_share_a_weight_are_named() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    assert "layers 0 and 1 share one weight" in refused(net)


def test_a_layer_of_an_unsupported_kind_is_named() -> None:
    net = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(4, 2))
    assert "layer 1 is a Conv1d, which cannot be quantized" in refused(net)


def test_a_weight_without_a_module_is_named() -> None:
    net = Free(lambda parts, x: F.linear(x, parts.own.kernel) + parts.fc(x), own=nn.Module(), fc=nn.Linear(4, 2))  # type: ignore[operator,union-attr,arg-type]
    cast(nn.Module, net.own).kernel = nn.Parameter(torch.ones(2, 4))
    assert "parameter own.kernel is used by linear directly" in refused(net)


PRODUCTS: dict[str, tuple[str, tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "transposed": ("matmul", (4, 4), lambda x, w: x @ w.t()),
    "scaled": ("linear", (4, 4), lambda x, w: F.linear(x, w * 2)),
    "chunked": ("matmul", (4, 8), lambda x, w: x.matmul(w.chunk(2, dim=1)[1])),
    "expanded": ("bmm", (1, 4, 4), lambda x, w: torch.bmm(x.unsqueeze(1), w.expand(x.size(0), -1, -1)).squeeze(1)),
    "einsum": ("einsum", (4, 4), lambda x, w: torch.einsum("ni,ij->nj", x, w)),
    "bilinear": ("bilinear", (4, 4, 4), lambda x, w: F.bilinear(x, x, w)),
    "vector": ("matmul", (4,), lambda x, w: x + (x @ w).unsqueeze(1)),
    "conv_transpose": (
        "conv_transpose2d",
        (1, 1, 1, 1),
        lambda x, w: F.conv_transpose2d(x.view(-1, 1, 2, 2), w).flatten(1),
    ),
    "attention": (
        "scaled_dot_product_attention",
        (3, 4),
        lambda x, w: F.scaled_dot_product_attention(w.expand(x.size(0), 3, 4), x.unsqueeze(1), x.unsqueeze(1)).mean(1),
    ),
}


def with_parameter(shape: tuple[int, ...], rule: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """A Linear behind any use of a parameter of its own."""
    net = Free(lambda parts, x: parts.fc(rule(x, parts.own.w)), own=nn.Module(), fc=nn.Linear(4, 2))  # type: ignore[operator,union-attr,arg-type]
    cast(nn.Module, net.own).w = nn.Parameter(torch.ones(shape))
    return net


@pytest.mark.parametrize("use", PRODUCTS)
def test_a_parameter_that_reaches_a_product_without_a_module_is_named(use: str) -> None:
    product, shape, rule = PRODUCTS[use]
    assert f"parameter own.w is used by {product} directly" in refused(with_parameter(shape, rule))


def test_parameters_that_are_added_to_or_scale_activations_stay_float() -> None:
    def rule(x: Tensor, w: Tensor) -> Tensor:
        y = x * w[0] + w[1].expand(x.size(0), -1)  # a scale and a position
        return y + y.unsqueeze(1).matmul(y.unsqueeze(2)).squeeze(2)

    quantizer, _ = quantize([with_parameter((2, 4), rule).eval()], torch.randn(1, 4, 4), Nearest(), [2])
    assert quantizer.units == ("fc",)


def test_a_network_that_branches_on_values_is_refused() -> None:
    assert "Branching cannot be traced by torch.fx" in refused(Branching())


def test_a_network_without_a_layer_is_refused() -> None:
    assert "Sequential has no layer to quantize" in refused(nn.Sequential(nn.ReLU()))


def test_a_unit_whose_graph_does_not_reproduce_the_network_is_named() -> None:
    net = Free(
        lambda parts, x: parts.last(F.dropout(parts.first(x), training=True)),  # type: ignore[operator]
        first=nn.Linear(4, 64),
        last=nn.Linear(64, 2),
    )
    assert "unit last: the traced graph does not reproduce" in refused(net)


@pytest.mark.parametrize("other", [nn.Tanh(), nn.LeakyReLU(0.3)], ids=["tanh", "leaky"])
def test_networks_of_equal_shapes_and_other_activations_are_refused(other: nn.Module) -> None:
    nets: list[nn.Module] = [nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 2)).eval() for act in (nn.ReLU(), other)]
    with pytest.raises(ValueError, match=r"the forward of model 1.*parts other than model 0's"):
        quantize(nets, torch.randn(2, 6, 4), Nearest(), [2])


METHODS = pytest.mark.parametrize("method", [Nearest(), BRECQ(iterations=2, fisher=True)], ids=["nearest", "fisher"])


@METHODS
def test_images_that_are_not_finite_are_refused_with_model_and_image(method: Method) -> None:
    data = images(2)
    data[1, 3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 of 12 calibration images of model 1 are not finite, the first is image 3"):
        quantize([small(0), small(1)], data, method, [2])


@METHODS
def test_parameters_that_are_not_finite_are_refused_with_model_and_name(method: Method) -> None:
    nets = [small(0), small(1)]
    nets[1].get_parameter("fc.weight").data[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"parameters of model 1 are not finite: \['fc.weight'\]"):
        quantize(nets, images(2), method, [2])


def test_activations_that_are_not_finite_are_refused_with_unit_and_model() -> None:
    nets = [small(0), small(1)]
    nets[1].get_buffer("bn1.running_mean")[0] = torch.nan
    with pytest.raises(ValueError, match="unit conv1: activations of model 1 are not finite"):
        quantize(nets, images(2), Nearest(), [2])
    with pytest.raises(ValueError, match="model 1: the network's output on its calibration images is not finite"):
        quantize(nets, images(2), BRECQ(iterations=2, fisher=True), [2])


@METHODS
@pytest.mark.parametrize("layer", ["conv1", "fc"])
def test_activations_whose_squares_overflow_are_refused_with_unit_and_model(layer: str, method: Method) -> None:
    nets = [small(0), small(1)]
    nets[1].get_parameter(f"{layer}.weight").data.mul_(1e25)
    with pytest.raises(
        ValueError, match=rf"unit {layer}: activations of model 1 reach .*e\+2\d, whose squares overflow"
    ):
        quantize(nets, images(2), method, [2])
    assert quantize([net.double() for net in nets], images(2).double(), Nearest(), [2])[1][-1].error < 1


def test_weights_whose_squares_overflow_are_refused_with_unit_and_model() -> None:
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    net.get_parameter("0.weight").data.mul_(1e25)
    assert "unit 0: weights of 0 of model 0 reach" in refused(net, 1e-25 * torch.ones(1, 4, 4))


def test_a_quantized_output_that_overflows_is_refused_with_unit_and_bits() -> None:
    @dataclass(frozen=True)
    class Huge:
        needs_gram: bool = False
        needs_activations: bool = False
        unit: str = "layer"
        inputs: str = "quantized"

        def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
            solved = Nearest().solve(problem)
            return {name: replace(one, scale=torch.full_like(one.scale, 3e37)) for name, one in solved.items()}

    data = 10 * torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="unit 0: the quantized output of model 0 at bits 2 is not finite"):
        quantize([nn.Sequential(nn.Linear(4, 2)).eval()], data, Huge(), [2])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            torch.zeros(1, 4, 1, 8, 8, dtype=torch.uint8),
            r"each torch.uint8 \[1, 8, 8\].*convert them to .* torch.float32",
        ),
        (torch.zeros(1, 4, 1, 8, 8, dtype=torch.float64), "convert them to the network's torch.float32"),
        (torch.zeros(1, 4, 3, 8, 8), r"each torch.float32 \[3, 8, 8\] on cpu; give them in the shape"),
        (torch.zeros(1, 4, 64), r"each torch.float32 \[64\] on cpu; give them in the shape"),
    ],
    ids=["uint8", "float64", "channels", "flat"],
)
def test_images_that_the_network_does_not_take_are_refused(data: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"model 0 does not run on its calibration images, .*{sentence}"):
        quantize([small(0)], data, Nearest(), [2])


def test_images_that_differ_in_shape_between_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same number, shape and type; got \['torch.float32 \[11, 1, 8, 8\]'"):
        NetworkQuantizer([small(0), small(1)], [images(1)[0], images(1, 11)[0]], Nearest(), [2], [0, 1])


def test_no_calibration_data_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration data"):
        quantize([small(0)], images(1)[:, :0], Nearest(), [2])


def test_networks_in_training_mode_are_refused() -> None:
    with pytest.raises(ValueError, match=r"call eval\(\) on model 1"):
        quantize([small(0), small(1).train()], images(2), Nearest(), [2])


def test_networks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model 1 differs from model 0 in \['fc.bias'"):
        quantize([small(0), small_resnet(num_classes=4, width=4).eval()], images(2), Nearest(), [2])


def test_models_images_and_seeds_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="one per model; got 1, 1 and 2"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [2], seeds=[0, 1])


def test_a_solution_off_the_grid_is_an_error() -> None:
    @dataclass(frozen=True)
    class Broken:
        needs_gram: bool = False
        needs_activations: bool = False
        unit: str = "layer"
        inputs: str = "quantized"

        def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
            solved = Nearest().solve(problem)
            return {name: replace(one, codes=one.codes + 0.5) for name, one in solved.items()}

    with pytest.raises(ValueError, match="layer conv1: the method failed"):
        quantize([small(0)], images(1), Broken(), [2])


def test_networks_can_be_taken_only_when_all_units_are_done() -> None:
    quantizer = NetworkQuantizer([small(0)], images(1), Nearest(), [2], [0])
    quantizer.step()
    with pytest.raises(ValueError, match="not quantized yet"):
        quantizer.network(0, 0)
    for _ in quantizer.units[1:]:
        quantizer.step()
    with pytest.raises(ValueError, match="all 7 units are quantized"):
        quantizer.step()
