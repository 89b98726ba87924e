from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.api import quantize
from lit_privq.export.onnx import onnx_bytes
from lit_privq.models.small import small_resnet
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.nearest import Nearest
from tests.export.networks import IMAGES, outputs, quantized, quantized_from, written


@pytest.mark.slow
@pytest.mark.parametrize("bits", [{"*": 2, "fc": 8}, 1.58, 4], ids=str)
def test_onnxruntime_computes_what_the_network_computes(bits: Bits, tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net, layers = quantized(bits, width=64)
    path = written(tmp_path / "x.onnx", onnx_bytes(net, layers, (1, 8, 8)))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": IMAGES.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), outputs(net), rtol=1e-4, atol=1e-4)  # float32 convolutions
    graph = onnx.load(path).graph
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == len(layers)
    assert not any(tensor.name.endswith("conv1.weight") for tensor in graph.initializer)
    assert b"lit_privq/" not in path.read_bytes()  # no stack traces
    weights = sum(layer["codes"].numel() for layer in layers.values())
    stored = 4 if bits == 4 else 2
    assert path.stat().st_size < weights * stored / 8 + 60_000  # names, nodes, norms


@pytest.mark.slow
def test_integer_zeros_reach_onnx_as_zero_points() -> None:
    onnx = pytest.importorskip("onnx")
    from lit_privq.quantization.grid import MinMax

    net, layers = quantized(4, grid=MinMax())
    graph = onnx.load_from_string(onnx_bytes(net, layers, (1, 8, 8))).graph
    assert all(len(node.input) == 3 for node in graph.node if node.op_type == "DequantizeLinear")
    assert not any(node.op_type == "Sub" for node in graph.node)


class Tokens(nn.Module):
    """Linear layers on (examples, positions, channels), with and without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3), nn.Linear(6, 3)
        self.biased, self.plain = nn.Linear(4, 6), nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)  # (examples, positions, channels)
        return cast(Tensor, self.head(self.plain(self.biased(tokens).relu()).mean(1)))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_linear_layers_on_positions_reach_onnx_as_integers(bits: int) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net, layers = quantized_from(Tokens(), bits)
    content = onnx_bytes(net, layers, (1, 8, 8))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": IMAGES.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), outputs(net), rtol=1e-4, atol=1e-4)  # float32 products
    graph = onnx.load_from_string(content).graph
    assert {f"{name}.weight.codes" for name in layers} <= {tensor.name for tensor in graph.initializer}
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == len(layers) == 4


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"needs {package}; install it with: pip install 'lit_privq\[onnx\]'"):
        onnx_bytes(nn.Linear(2, 2), {}, (2,))


def test_a_float64_network_is_told_what_onnx_needs() -> None:
    pytest.importorskip("onnxscript")
    net, layers = quantized_from(Tokens(), 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"layer stem has torch\.float64; quantize the network after net\.float\(\)"):
        onnx_bytes(net, layers, (1, 8, 8))


@pytest.mark.slow
def test_a_network_that_onnx_cannot_express_is_named_in_one_line() -> None:
    pytest.importorskip("onnxscript")
    net, layers = quantized_from(Tokens(), 4)
    with pytest.raises(ValueError, match=r"torch\.onnx cannot export Tokens for images \[2, 8, 8\]: ") as error:
        onnx_bytes(net, layers, (2, 8, 8))
    assert "\n" not in str(error.value)


def pixels(n_channels: int) -> Tensor:
    return torch.randint(256, (8, n_channels, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "std"), [((0.287,), (0.353,)), ((0.1, 0.5, 0.9), (0.2, 0.4, 0.8))])
def test_the_graph_takes_pixels_and_normalises_them(mean: Sequence[float], std: Sequence[float]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    images = pixels(len(mean))  # (8, channels, 8, 8)
    normalised = (images / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    net = nn.Sequential(nn.Conv2d(len(mean), 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    small = quantize(net, normalised, Nearest(), 4)
    content = onnx_bytes(small.net, small.layers(), images.shape[1:], mean, std)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), small(normalised), rtol=1e-4, atol=1e-4)  # float32 products
    with pytest.raises(Exception, match=r"expected: \(tensor\(uint8\)\)"):  # no normalised images by mistake
        session.run(None, {"images": normalised.numpy()})
    assert session.get_modelmeta().custom_metadata_map["input"].startswith("images: uint8 pixels, 0 to 255")


@pytest.mark.slow
def test_a_network_of_inputs_that_are_not_normalised_takes_them_as_they_are() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    small = quantize(nn.Sequential(nn.Linear(5, 3)).eval(), torch.randn(9, 5), Nearest(), 4)
    session = onnxruntime.InferenceSession(onnx_bytes(small.net, small.layers(), (5,)))
    assert session.get_inputs()[0].type == "tensor(float)"
    assert session.get_modelmeta().custom_metadata_map["input"].startswith("images: float32")


@pytest.mark.parametrize(("mean", "std"), [((0.1, 0.2), (0.3, 0.4)), ((0.1,), ()), ((), (0.3,))])
def test_normalisation_that_is_not_one_number_a_channel_is_refused(mean: Sequence[float], std: Sequence[float]) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match="mean and std must be given together, one for each of the 1 channels"):
        onnx_bytes(nn.Linear(2, 2), {}, (1, 8, 8), mean, std)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    text = (Path(__file__).parents[2] / "docs/export.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    torch.manual_seed(0)
    small = quantize(small_resnet(num_classes=3, width=8).eval(), IMAGES, Nearest(), 4)
    small.export(tmp_path / "X.onnx", mean=(0.287,), std=(0.353,))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    black = torch.full((8, 1, 8, 8), -0.287 / 0.353)
    torch.testing.assert_close(torch.from_numpy(names["logits"]), small(black), rtol=1e-4, atol=1e-4)
