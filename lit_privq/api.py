"""What Python code calls: `quantize` a network, `load` one from a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

import lit_privq
from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.codes import stored_layer
from lit_privq.export.card import NOT_AUDITED
from lit_privq.export.command import format_of
from lit_privq.export.command import load as packed_network
from lit_privq.export.onnx import onnx_bytes
from lit_privq.export.packed import load_packed, packed_bytes
from lit_privq.quantization.checks import Bits, bits_of
from lit_privq.quantization.method import Method
from lit_privq.quantization.network import NetworkQuantizer, UnitReport
from lit_privq.quantization.solution import Solution


@dataclass(frozen=True)
class QuantizedNetwork:
    """A network whose weights lie on grids of few levels; call it as the network itself.

    Args:
        net: the network, in evaluation mode: an ordinary module whose parameters are the quantized ones.
        codes: of each quantized layer, by its name: codes (1, rows, columns), scale and zero (1, rows, 1), levels (1,);
            of each pruned layer its values (1, rows, columns).
        report: how each unit fared on the calibration images, in the order they were quantized.
        bits: the precision that was asked for.
        image_shape: of one image, (channels, height, width).
    """

    net: nn.Module
    codes: Mapping[str, Solution]
    report: Sequence[UnitReport]
    bits: Bits
    image_shape: tuple[int, ...]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """What the network answers: (batch, ...) as in calibration -> (batch, outputs)."""
        answers: Tensor = self.net(images)
        return answers

    def layers(self) -> dict[str, dict[str, Any]]:
        """The quantized layers as files keep them, on the CPU; see `lit_privq.artifacts.codes.StoredLayer`."""
        return {name: stored_layer(self.net, name, one, bits_of(name, self.bits)) for name, one in self.codes.items()}

    def export(
        self,
        path: str | Path,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        card: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the network at the size that its bits promise, as safetensors or ONNX.

        Args:
            path: ends in ``.safetensors``, to be read by `load`, or in ``.onnx``.
            mean: of an ONNX file whose graph takes uint8 pixels and normalises them: per channel, in units of
                pixel / 255, as in training. Without it, the graph takes what the network takes.
            std: per channel, likewise.
            card: what else the file's model card says, plain values by name, such as the data set and the accuracy.

        Raises:
            ValueError: if the path ends in neither, or the network cannot be exported; the message says why.
        """
        path = Path(path)
        file_format = format_of(path)
        library = f"lit_privq {lit_privq.__version__}"
        told = {"library": library, "bits": self.bits, "leakage": NOT_AUDITED, **(card or {})}
        if file_format == "onnx":
            content = onnx_bytes(copy.deepcopy(self.net).cpu(), self.layers(), self.image_shape, mean, std, told)
        else:
            content = packed_bytes(self.net.state_dict(), self.layers(), {"card": told})
        atomic_write_bytes(path, content)
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


def load(path: str | Path, net: nn.Module | None = None, trust: Sequence[str] = ()) -> nn.Module:
    """The network in a checkpoint or a packed file, in evaluation mode, on the CPU.

    Args:
        path: what ``fit`` or ``export`` wrote, or `QuantizedNetwork.export` as safetensors.
        net: a network of the same architecture to fill, where a packed file does not name its own.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks the file may name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds another network than `net`, or names one that is not trusted.
    """
    path = Path(path)
    if path.is_file() and is_zipfile(path):  # torch.save writes these
        return network_of(read_checkpoint(path), path, trust)
    return load_packed(path, net).eval() if net is not None else packed_network(path, trust)
