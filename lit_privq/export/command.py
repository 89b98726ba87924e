"""``export``: a quantized checkpoint as the small file it can be, for storage or for other runtimes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lit_privq.artifacts.checkpoint import build_trusted, network_of, read_checkpoint
from lit_privq.export.onnx import onnx_bytes
from lit_privq.export.packed import load_packed, packed_bytes, read_about


def main(argv: Sequence[str]) -> None:
    """Write one quantized checkpoint as safetensors or ONNX, and say how large it became.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is not quantized, or cannot be exported; the message says why.
    """
    options = _parser().parse_args(argv)
    checkpoint = read_checkpoint(options.ckpt)
    layers = checkpoint.get("quantization")
    if not layers:
        raise ValueError(f"{options.ckpt} is not quantized; export takes what fit with a file of configs/ptq wrote")
    net = network_of(checkpoint, options.ckpt, options.trust)
    if options.format == "onnx":
        content = onnx_bytes(net, layers, _image_shape(checkpoint, options))
    else:
        content = packed_bytes(net.state_dict(), layers, _about(checkpoint))
    _write(options.output, content)
    print(_summary(options.output, len(content), net.state_dict(), layers))


def load(path: Path, trust: Sequence[str] = ()) -> nn.Module:
    """The network in a packed file, built from what the file says about itself, in eval mode.

    Args:
        path: what ``export`` wrote.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks the file may name.
    """
    return load_packed(path, build_trusted(read_about(path)["net"], trust, path)).eval()


def size_on_disk(checkpoint: Mapping[str, Any]) -> int:
    """Bytes of the packed file that a quantized checkpoint would become."""
    state = {name.removeprefix("net."): value for name, value in checkpoint["state_dict"].items()}
    return len(packed_bytes(state, checkpoint["quantization"], _about(checkpoint)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lit_privq export",
        description=__doc__,
        epilog="example: python -m lit_privq export --ckpt DIR/checkpoints/brecq-2/000.ckpt --output 000.safetensors",
    )
    parser.add_argument("--ckpt", type=Path, required=True, help="a quantized checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="PACKAGE",
        help="packages, beside torchvision and lit_privq, whose networks the checkpoint may name",
    )
    parser.add_argument("--format", choices=["safetensors", "onnx"], default="safetensors")
    parser.add_argument(
        "--image_shape", type=int, nargs=3, metavar=("C", "H", "W"), help="for onnx, where the checkpoint does not say"
    )
    return parser


def _about(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a packed file says about its network: how to build it, and how it was made."""
    made = {name: value for name, value in checkpoint["lit_privq"].items() if isinstance(value, str | int | float)}
    return {**made, "net": checkpoint["hyper_parameters"]["net"]}


def _image_shape(checkpoint: Mapping[str, Any], options: argparse.Namespace) -> Sequence[int]:
    shape: Sequence[int] | None = options.image_shape or checkpoint["lit_privq"].get("image_shape")
    if shape is None:
        raise ValueError(f"{options.ckpt} does not say how large its images are; add --image_shape, such as 3 32 32")
    return shape


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _summary(path: Path, size: int, state: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, Any]]) -> str:
    float_size = sum(value.numel() * value.element_size() for value in state.values())
    weights = sum(layer["codes"].numel() for layer in layers.values())
    return (
        f"{path}: {size:,} bytes, {float_size / size:.1f} times smaller than the float network ({float_size:,} bytes); "
        f"{weights:,} of its numbers are codes"
    )
