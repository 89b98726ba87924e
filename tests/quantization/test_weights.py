from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import prune

from lit_privq.quantization.nearest import Nearest
from tests.quantization.networks import (
    Free,
    images,
    quantize,
    refused,
)


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
    net = nn.Sequential(nn.Unflatten(1, (1, 1, 2, 2)), nn.Conv3d(1, 1, 1), nn.Flatten(), nn.Linear(4, 2))
    assert "layer 1 is a Conv3d, which cannot be quantized" in refused(net)


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
        (1, 1, 3, 3),
        lambda x, w: F.conv_transpose2d(x.view(-1, 1, 2, 2), w, padding=1).flatten(1),
    ),
    "attention": (
        "scaled_dot_product_attention",
        (2, 2),
        lambda x, w: F.scaled_dot_product_attention(w.expand(x.size(0), 2, 2), *[x.view(-1, 2, 2)] * 2).flatten(1),
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


MORE_PRODUCTS: dict[str, tuple[str, tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "linalg": ("linalg_matmul", (4, 4), torch.linalg.matmul),
    "aten": ("mm.default", (4, 4), torch.ops.aten.mm.default),
    "sparse": ("_sparse_mm", (4, 4), lambda x, w: torch.sparse.mm(w.to_sparse(), x.t()).t()),
    "summed later": ("sum", (4, 4), lambda x, w: (x.unsqueeze(-1) * w).sum(1)),
    "summed later, shifted between": ("mean", (4, 4), lambda x, w: (x.unsqueeze(-1) * w + 1).relu().mean(1)),
    "convolution": ("conv1d", (1, 1, 3), lambda x, w: F.conv1d(x.unsqueeze(1), w, padding=1).squeeze(1)),
    "embedding": ("embedding", (8, 4), lambda x, w: F.embedding((x.abs() * 3).long().clamp(max=7)[:, 0], w)),
    "indexed": ("getitem", (8, 4), lambda x, w: w[(x.abs() * 3).long().clamp(max=7)[:, 0]]),
    "dead data": ("linear", (4, 4), lambda x, w: F.linear((x - 100).relu(), w)),
}


@pytest.mark.parametrize("use", MORE_PRODUCTS)
def test_a_parameter_that_data_reduce_over_is_named_whatever_the_function_is_called(use: str) -> None:
    product, shape, rule = MORE_PRODUCTS[use]
    assert f"parameter own.w is used by {product} directly" in refused(with_parameter(shape, rule))


NO_PRODUCTS: dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "positions, then pooled": ((3, 4), lambda x, w: (x.unsqueeze(1) + w).mean(1)),
    "positions, then rectified and pooled": ((3, 4), lambda x, w: (x.unsqueeze(1) + w).relu().mean(1)),
    "a class token": ((1, 1, 4), lambda x, w: torch.cat([w.expand(x.size(0), -1, -1), x.unsqueeze(1)], 1).mean(1)),
    "a scale of every channel, then pooled": ((4, 1), lambda x, w: (x.unsqueeze(-1).expand(-1, -1, 3) * w).mean(2)),
    "a scale, then mixed": ((4,), lambda x, w: (x * w).softmax(1)),
    "a scale of every number": ((2, 2), lambda x, w: (x.view(-1, 2, 2) * w).flatten(1)),
    "a norm's affine": ((2, 2), lambda x, w: F.layer_norm(x.view(-1, 2, 2), (2, 2), w, w).flatten(1)),
    "a temperature": ((1, 1), lambda x, w: (x / w).softmax(1)),
    "its size": ((4, 4), lambda x, w: x * w.size(0)),
}


@pytest.mark.parametrize("use", NO_PRODUCTS)
def test_a_parameter_that_scales_or_shifts_is_no_weight(use: str) -> None:
    shape, rule = NO_PRODUCTS[use]
    quantizer, _ = quantize([with_parameter(shape, rule).eval()], torch.randn(1, 4, 4), Nearest(), [2])
    assert quantizer.weights == ("fc",)


def test_a_layer_whose_output_is_unused_is_told_so() -> None:
    def rule(parts: nn.Module, x: Tensor) -> Tensor:
        parts.idle(x)  # type: ignore[operator]
        return cast(Tensor, parts.fc(x))  # type: ignore[operator]

    net = Free(rule, idle=nn.Linear(4, 2), fc=nn.Linear(4, 2))
    assert "layer idle runs, but the network's output does not depend on it" in refused(net)


def test_options_given_when_a_layer_is_called_are_refused() -> None:
    net = Free(
        lambda parts, x: parts.fc(parts.up(x.view(-1, 1, 2, 2), output_size=(4, 4)).flatten(1)),  # type: ignore[operator]
        up=nn.ConvTranspose2d(1, 1, 3, 2, 1),
        fc=nn.Linear(16, 2),
    )
    assert "layer up is called with more than its input" in refused(net)


def test_an_embedding_that_rescales_its_weight_is_refused() -> None:
    net = nn.Sequential(nn.Embedding(4, 2, max_norm=1.0), nn.Flatten(), nn.Linear(8, 2))
    assert "layer 0 rescales its weight in forward" in refused(net, torch.randint(4, (1, 4, 4)))


class Several(nn.Module):
    """Three weights that cannot be quantized, of which one is inside another's module, and one that can."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.w, self.fc = nn.Bilinear(4, 4, 4), nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 2)
        self.coder = nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (self.mixed(x, x) @ self.w).unsqueeze(1)
        return cast(Tensor, self.fc(self.coder(tokens, tokens).squeeze(1)))


def test_weights_that_cannot_be_quantized_are_named_with_the_map_that_leaves_them_in_float() -> None:
    said = refused(Several())
    assert said.startswith("3 of 4 weights cannot be quantized, the first because layer mixed is a Bilinear")
    bits = json.loads(said.partition("as with bits ")[2])
    assert bits == {"*": 2, "mixed": 32, "coder": 32, "w": 32}
    net = Several().eval()
    quantizer, _ = quantize([net], torch.randn(1, 6, 4), Nearest(), [bits])
    assert sorted(quantizer.codes(0, 0)) == ["fc"]
    assert quantizer.weights == ("fc", "mixed", "coder", "w")
    assert quantizer.float_weights(0) == ["mixed", "coder", "w"]
    changed = [
        name
        for name, value in quantizer.network(0, 0).state_dict().items()
        if not torch.equal(value, net.state_dict()[name])
    ]
    assert changed == ["fc.weight"]


def test_attention_from_one_tensor_to_another_is_named_with_the_map_that_leaves_it_in_float() -> None:
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.fc = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.unsqueeze(1)
            return cast(Tensor, self.fc(self.attention(tokens, -tokens, -tokens)[0].squeeze(1)))

    said = refused(Cross())
    assert "layer attention is a MultiheadAttention, which cannot be quantized" in said
    bits = json.loads(said.partition("as with bits ")[2])
    assert quantize([Cross().eval()], torch.randn(1, 6, 4), Nearest(), [bits])[0].units == ("fc",)
