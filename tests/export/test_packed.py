from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from lit_privq.api import load, quantize
from lit_privq.export.packed import load_packed, pack, packed_bytes, read_packed, unpack
from lit_privq.models.small import small_resnet
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.magnitude_prune import MagnitudePrune
from lit_privq.quantization.nearest import Nearest
from tests.export.networks import IMAGES, outputs, quantized, quantized_from, written


@pytest.mark.parametrize(
    ("levels", "bits"),
    [(2, 1.0), (3, 1.6), (4, 2.0), (8, 3.0), (16, 4.0), (32, 5.0), (64, 6.0), (128, 7.0), (256, 8.0)],
)
def test_codes_take_their_true_size_and_come_back(levels: int, bits: float) -> None:
    codes = torch.randint(levels, (40, 27), generator=torch.Generator().manual_seed(0))
    packed = pack(codes, levels)
    assert packed.dtype == torch.uint8
    assert 8 * len(packed) / codes.numel() == pytest.approx(bits, abs=0.05)  # a last group that is not full
    assert torch.equal(unpack(packed, levels, codes.numel()).view(40, 27), codes)


@pytest.mark.parametrize("levels", range(2, 257))
def test_any_number_of_levels_comes_back_and_takes_no_more_than_whole_bits(levels: int) -> None:
    codes = torch.randint(levels, (840,), generator=torch.Generator().manual_seed(0))
    codes[0], codes[-1] = levels - 1, levels - 1
    packed = pack(codes, levels)
    assert torch.equal(unpack(packed, levels, 840), codes)
    assert 8 * len(packed) <= 840 * math.ceil(math.log2(levels))


def test_a_last_byte_need_not_be_full() -> None:
    codes = torch.tensor([2, 2, 2, 2, 2, 1, 2])
    assert pack(codes, 3).tolist() == [242, 7]
    assert torch.equal(unpack(pack(codes, 3), 3, 7), codes)


def test_codes_of_three_bits_cross_bytes() -> None:
    assert pack(torch.tensor([1, 2, 3, 0, 0, 0, 0, 7]), 8).tolist() == [0b11_010_001, 0, 0b111_00000]


@pytest.mark.parametrize("bits", [8, 4, 2, 1.58, 1, {"*": 1.58, "fc": 8}], ids=str)
def test_a_packed_network_comes_back_bit_for_bit(bits: Bits, tmp_path: Path) -> None:
    net, layers = quantized(bits)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {"net": "small"}))
    again = load_packed(path, small_resnet(num_classes=3, width=8)).eval()
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert torch.equal(outputs(again), outputs(net))
    assert read_packed(path).about == {"net": "small"}


@pytest.mark.parametrize(("bits", "per_weight"), [(7, 7.0), (4, 4.0), (3, 3.0), (2, 2.0), (1.58, 1.6), (1, 1.0)])
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
    with pytest.raises(ValueError, match=r"layer layer1\.0\.conv1: its weight is not the one that is stored for it"):
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
    with pytest.raises(ValueError, match="holds another network: size mismatch for fc"):
        load_packed(path, small_resnet(num_classes=4, width=8))


def test_a_refused_file_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    net, layers = quantized(2)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    other = small_resnet(num_classes=4, width=8)  # only its last layer differs
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match="holds another network"):
        load_packed(path, other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize(("ours", "theirs"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_a_network_of_another_precision_is_refused(ours: torch.dtype, theirs: torch.dtype, tmp_path: Path) -> None:
    net, layers = quantized_from(small_resnet(num_classes=3, width=8), 2, dtype=ours)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    message = rf"holds .* in {ours}, and the network has {theirs}; convert the network first, as with net\.to\({ours}\)"
    with pytest.raises(ValueError, match=message):
        load_packed(path, small_resnet(num_classes=3, width=8).to(theirs))
    again = load_packed(path, small_resnet(num_classes=3, width=8).to(ours))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_layer_may_own_tensors_called_codes_scale_and_zero(tmp_path: Path) -> None:
    def owner() -> nn.Module:
        net = small_resnet(num_classes=3, width=8)
        layer = net.get_submodule("fc")
        for value, name in enumerate(("codes", "scale", "zero")):
            layer.register_buffer(name, torch.tensor([value, 0.5]))
        return net

    net, layers = quantized_from(owner(), 2)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    again = owner()
    for name in ("codes", "scale", "zero"):
        again.get_buffer(f"fc.{name}").zero_()
    load_packed(path, again)
    assert [again.get_buffer(f"fc.{name}").tolist() for name in ("codes", "scale", "zero")] == [
        [0, 0.5],
        [1, 0.5],
        [2, 0.5],
    ]
    assert torch.equal(outputs(again.eval()), outputs(net))


class Mixed(nn.Module):
    """Layers whose weights lie in memory in their own ways."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.ConvTranspose2d(1, 4, 2, 2), nn.Conv2d(4, 4, 3, groups=2)
        self.grouped, self.line = nn.ConvTranspose2d(4, 6, 3, groups=2), nn.Conv1d(6, 4, 5)
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.line(self.grouped(self.down(self.up(x)).relu()).flatten(2)).transpose(1, 2)
        return cast(Tensor, self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)))


def test_layers_of_every_kind_and_layers_left_in_float_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, layers = quantized_from(Mixed(), {"*": 3, "down": 32})
    assert {"up", "grouped", "line", "attention.in_proj", "head"} <= set(layers)
    assert "down" not in layers
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), layers, {}))
    again = load_packed(path, Mixed()).eval()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())
    assert torch.equal(outputs(again), outputs(net))


def test_a_network_that_asks_for_its_version_is_read_back(tmp_path: Path) -> None:
    mnasnet = torchvision.models.mnasnet0_5
    with pytest.raises(ValueError, match="version should be"):
        mnasnet(num_classes=3).load_state_dict(dict(mnasnet(num_classes=3).state_dict()))
    net = mnasnet(num_classes=3)
    path = written(tmp_path / "x.safetensors", packed_bytes(net.state_dict(), {}, {}))
    again = load_packed(path, mnasnet(num_classes=3))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())


def test_the_same_network_is_the_same_bytes() -> None:
    net, layers = quantized(2)
    assert packed_bytes(net.state_dict(), layers, {"a": 1}) == packed_bytes(net.state_dict(), layers, {"a": 1})


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    net, layers = quantized(2)
    content = packed_bytes(net.state_dict(), layers, {"net": "small"})
    for position in [*range(200), *range(200, len(content), 997), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path = written(tmp_path / "x.safetensors", bytes(damaged))
        with pytest.raises(ValueError, match=r"damaged|another version"):
            read_packed(path)


def test_a_file_of_an_earlier_version_is_refused_with_the_command_that_makes_it_anew(tmp_path: Path) -> None:
    earlier = {"layers": {"fc": {"levels": 4, "shape": [1, 4]}}, "about": {}}
    tensors = {"fc.codes": torch.zeros(1, dtype=torch.uint8), "fc.scale": torch.ones(1), "fc.zero": torch.ones(1)}
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"lit_privq": json.dumps(earlier)})
    with pytest.raises(
        ValueError, match=r"another version .*: python -m lit_privq export --ckpt X\.ckpt --output .*x\."
    ):
        load_packed(path, nn.Linear(4, 1))


class Counting(nn.Linear):
    """A layer that keeps something else than tensors in its state."""

    def get_extra_state(self) -> int:
        return 3

    def set_extra_state(self, state: int) -> None:
        pass


def test_extra_state_that_is_no_tensor_is_named() -> None:
    with pytest.raises(ValueError, match=r"tensors only; the network's extra state \['_extra_state'\]"):
        packed_bytes(Counting(2, 2).state_dict(), {}, {})


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


@pytest.mark.parametrize(("bits", "part"), [(1, "gaps"), (1.58, "gaps"), (2, "gaps"), (4, "mask"), (8, "mask")])
def test_a_pruned_network_comes_back_bit_for_bit_from_the_smaller_encoding(
    bits: float, part: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    small = quantize(small_resnet(num_classes=3, width=32).eval(), IMAGES, MagnitudePrune(), bits)
    path = written(tmp_path / "x.safetensors", packed_bytes(small.net.state_dict(), small.layers(), {}))
    assert f"layer2.0.conv2.weight.{part}" in safetensors.torch.load_file(path)
    again = load(path, small_resnet(num_classes=3, width=32))
    assert all(torch.equal(value, small.net.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_file_without_pruned_layers_is_of_the_format_that_earlier_versions_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=8).eval()
    for method, number in ((Nearest(), 2), (MagnitudePrune(), 3)):
        small = quantize(net, IMAGES, method, 2)
        assert f'\\"format\\":{number}'.encode() in packed_bytes(small.net.state_dict(), small.layers(), {})
