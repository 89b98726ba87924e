from __future__ import annotations

import pytest
import torchvision
from torch import nn

from lit_privq.quantization.graph import Graph
from lit_privq.quantization.network import NetworkQuantizer
from tests.quantization.networks import (
    images,
    refused,
    replace_unit,
    small,
)


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


def test_a_network_without_a_layer_is_refused() -> None:
    assert "Sequential has no layer to quantize" in refused(nn.Sequential(nn.ReLU()))
