"""What Python code calls: `quantize` a network, `load` one from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.codes import stored_layer
from lit_privq.export.command import load as packed_network
from lit_privq.export.onnx import onnx_bytes
from lit_privq.export.packed import load_packed, packed_bytes
from lit_privq.quantization.checks import Bits, bits_of
from lit_privq.quantization.method import Method, Quantized
from lit_privq.quantization.network import NetworkQuantizer, UnitReport


@dataclass(frozen=True)
class QuantizedNetwork:
    """A network whose weights lie on grids of few levels; call it as the network itself.

    Args:
        net: the network, in evaluation mode: an ordinary module whose parameters are the quantized ones.
        codes: of each quantized layer, by its name: codes (1, rows, columns), scale and zero (1, rows, 1), levels (1,).
        report: how each unit fared on the calibration images, in the order they were quantized.
        bits: the precision that was asked for.
        image_shape: of one image, (channels, height, width).
    """

    net: nn.Module
    codes: Mapping[str, Quantized]
    report: Sequence[UnitReport]
    bits: Bits
    image_shape: tuple[int, ...]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """What the network answers: (batch, ...) as in calibration -> (batch, outputs)."""
        answers: Tensor = self.net(images)
        return answers

    def export(self, path: str | Path) -> Path:
        """Write the network at the size that its bits promise, as safetensors or ONNX.

        Args:
            path: ends in ``.safetensors``, to be read by `load`, or in ``.onnx``.

        Raises:
            ValueError: if the path ends in neither, or the network cannot be exported; the message says why.
        """
        path = Path(path)
        layers = {name: stored_layer(self.net, name, one, bits_of(name, self.bits)) for name, one in self.codes.items()}
        if path.suffix == ".onnx":
            atomic_write_bytes(path, onnx_bytes(self.net, layers, self.image_shape))
        elif path.suffix == ".safetensors":
            atomic_write_bytes(path, packed_bytes(self.net.state_dict(), layers, {}))
        else:
            raise ValueError(f"the file must end in .safetensors or .onnx, which says its format; got {path}")
        return path


def quantize(
    net: nn.Module, images: Tensor, method: Method, bits: Bits, seed: int = 0, batch_size: int = 256
) -> QuantizedNetwork:
    """Quantize a trained network after training, calibrated on some of its inputs.

    Args:
        net: any network that torch.fx can trace, in eval mode; it is not changed.
        images: calibration images as the network takes them, normalised as in training, (examples, ...).
        method: the quantizer, such as `lit_privq.quantization.Descent()`.
        bits: 1, 1.58, 2, 4, 8, ...; or a map of shell patterns over layer names, last match wins: {"*": 2, "fc": 8}.
        seed: of methods that draw random numbers.
        batch_size: images per forward pass; bounds memory, does not change results.

    Raises:
        ValueError: if the network or the images cannot be used; the message says why and what to do.

    >>> from lit_privq.quantization.nearest import Nearest
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> small = quantize(net, torch.randn(16, 4), Nearest(), bits=2)
    >>> [len(row.unique()) <= 4 for row in small.net[0].weight]
    [True, True, True]
    >>> small(torch.randn(5, 4)).shape
    torch.Size([5, 2])
    """
    quantizer = NetworkQuantizer([net], images[None], method, [bits], [seed], batch_size=batch_size)
    report = [line for _ in quantizer.units for line in quantizer.step()]
    shape = tuple(images.shape[1:])
    return QuantizedNetwork(quantizer.network(0, 0), quantizer.codes(0, 0), report, bits, shape)


def load(path: str | Path, net: nn.Module | None = None) -> nn.Module:
    """The network in a checkpoint or a packed file, in evaluation mode, on the CPU.

    Args:
        path: what ``fit`` or ``export`` wrote, or `QuantizedNetwork.export` as safetensors.
        net: a network of the same architecture to fill, where a packed file does not say how to build its own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds another network than `net`.
    """
    path = Path(path)
    if path.is_file() and is_zipfile(path):  # torch.save writes these
        return network_of(read_checkpoint(path), path)
    return packed_network(path) if net is None else load_packed(path, net).eval()
