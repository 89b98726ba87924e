from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.export.onnx import onnx_bytes
from lit_privq.export.packed import load_packed, pack, packed_bytes, read_about, unpack
from lit_privq.models.small import small_resnet
from lit_privq.quantization.checks import Bits, bits_of
from lit_privq.quantization.grid import RangeZeroSearch
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer

DATA = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def quantized(bits: Bits, width: int = 8, grid: Any = None) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    """A small network and its layers as a checkpoint keeps them."""
    torch.manual_seed(0)
    return quantized_from(small_resnet(num_classes=3, width=width), bits, grid)


def quantized_from(
    net: nn.Module, bits: Bits, grid: Any = None, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    """Any network and its layers as a checkpoint keeps them."""
    data = DATA.to(dtype)
    quantizer = NetworkQuantizer([net.to(dtype).eval()], data, Nearest(grid=grid or RangeZeroSearch()), [bits], [0])
    for _ in quantizer.units:
        quantizer.step()
    layers = {
        name: {
            "codes": one.codes[0].to(torch.int16),
            "scale": one.scale[0],
            "zero": one.zero[0],
            "levels": int(one.levels[0]),
            "bits": bits_of(name, bits),
        }
        for name, one in quantizer.codes(0, 0).items()
    }
    return quantizer.network(0, 0), layers


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def outputs(net: nn.Module) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(net(DATA[0]))


@pytest.mark.parametrize(("levels", "bits"), [(2, 1.0), (3, 1.6), (4, 2.0), (16, 4.0), (256, 8.0)])
def test_codes_take_their_true_size_and_come_back(levels: int, bits: float) -> None:
    codes = torch.randint(levels, (40, 27), generator=torch.Generator().manual_seed(0))
    packed = pack(codes, levels)
    assert packed.dtype == torch.uint8
    assert 8 * len(packed) / codes.numel() == pytest.approx(bits)
    assert torch.equal(unpack(packed, levels, codes.numel()).view(40, 27), codes)


def test_a_last_byte_need_not_be_full() -> None:
    codes = torch.tensor([2, 2, 2, 2, 2, 1, 2])
    assert pack(codes, 3).tolist() == [242, 7]
    assert torch.equal(unpack(pack(codes, 3), 3, 7), codes)


@pytest.mark.parametrize("bits", [8, 4, 2, 1.58, 1, {"*": 1.58, "fc": 8}], ids=str)
def test_a_packed_network_comes_back_bit_for_bit(bits: Bits, tmp_path: Path) -> None:
    net, layers = quantized(bits)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {"net": "small"}))
    again = load_packed(path, small_resnet(num_classes=3, width=8)).eval()
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert torch.equal(outputs(again), outputs(net))
    assert read_about(path) == {"net": "small"}


@pytest.mark.parametrize(("bits", "per_weight"), [(4, 4.0), (2, 2.0), (1.58, 1.6), (1, 1.0)])
def test_the_file_is_as_small_as_its_bits_promise(bits: float, per_weight: float, tmp_path: Path) -> None:
    net, layers = quantized(bits, width=64)  # 310,000 weights
    size = len(packed_bytes(net.state_dict(), layers, {}))
    assert written(tmp_path / "x", packed_bytes(net.state_dict(), layers, {})).stat().st_size == size
    weights = sum(layer["codes"].numel() for layer in layers.values())
    rows = sum(len(layer["codes"]) for layer in layers.values())
    kept = sum(v.nbytes for name, v in net.state_dict().items() if name.removesuffix(".weight") not in layers)
    promised = weights * per_weight / 8 + 8 * rows + kept  # codes, scale and zero per channel, all else
    names = 120 * (len(net.state_dict()) + 2 * len(layers))  # names, types and places of the tensors
    assert promised <= size <= promised * 1.001 + names


def test_a_weight_that_left_its_grid_is_refused() -> None:
    net, layers = quantized(2)
    net.get_parameter("layer1.0.conv1.weight").data[0, 0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match=r"layer layer1\.0\.conv1: its weight is not the one its codes describe"):
        packed_bytes(net.state_dict(), layers, {})


def test_tied_batch_norms_are_packed_and_come_back(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        net = small_resnet(num_classes=3, width=8)
        first, second = (net.get_submodule(f"layer1.0.{name}") for name in ("bn1", "bn2"))
        second.weight, second.bias = first.weight, first.bias
        return net

    net, layers = quantized_from(tied(), 2)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    assert torch.equal(outputs(load_packed(path, tied()).eval()), outputs(net))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    net, layers = quantized(2)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    with pytest.raises(ValueError, match="holds another network"):
        load_packed(path, small_resnet(num_classes=4, width=8))


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"not a tensor in sight"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", content)
    with pytest.raises(ValueError, match="damaged or was not written by lit_privq export"):
        load_packed(path, small_resnet(num_classes=3))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no packed network"):
        load_packed(tmp_path / "x.safetensors", small_resnet(num_classes=3))


def test_more_than_256_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 to 256 levels"):
        pack(torch.zeros(3), 1024)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [{"*": 2, "fc": 8}, 1.58, 4], ids=str)
def test_onnxruntime_computes_what_the_network_computes(bits: Bits, tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net, layers = quantized(bits, width=64)
    path = written(tmp_path / "x.onnx", onnx_bytes(net, layers, (1, 8, 8)))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": DATA[0].numpy()})
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
    (got,) = session.run(None, {"images": DATA[0].numpy()})
    torch.testing.assert_close(torch.from_numpy(got), outputs(net), rtol=1e-4, atol=1e-4)  # float32 products
    graph = onnx.load_from_string(content).graph
    assert {f"{name}.weight.codes" for name in layers} <= {tensor.name for tensor in graph.initializer}
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == len(layers) == 4


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
