from __future__ import annotations

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
