"""``export``: a quantized checkpoint as the small file it can be, for storage or for other runtimes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.codes import is_pruned
from lit_privq.artifacts.construction import build_trusted
from lit_privq.artifacts.state import without_prefix
from lit_privq.export.card import model_card
from lit_privq.export.onnx import onnx_bytes
from lit_privq.export.packed import fill, packed_bytes, read_packed

FORMATS = ("safetensors", "onnx")
"""Formats of exported files; each is also the suffix of its files."""


def main(argv: Sequence[str]) -> None:
    """Write one quantized checkpoint as safetensors or ONNX, and say how large it became.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is not quantized, or cannot be exported; the message says why.
    """
    options = parser().parse_args(argv)
    file_format = format_of(options.output, options.format)
    checkpoint = read_checkpoint(options.ckpt)
    layers = checkpoint.get("quantization")
    if not layers:
        raise ValueError(f"{options.ckpt} is not quantized; export takes what fit with a file of configs/ptq wrote")
    net = network_of(checkpoint, options.ckpt, options.trust)
    card = model_card(checkpoint, options.ckpt)
    if file_format == "onnx":
        shape, (mean, std) = _image_shape(checkpoint, options), _normalisation(checkpoint, options)
        content = onnx_bytes(net, layers, shape, mean, std, card)
    else:
        content = packed_bytes(_state(checkpoint), layers, {**_about(checkpoint), "card": card})
    atomic_write_bytes(options.output, content)
    print(_summary(options.output, len(content), checkpoint))


def format_of(path: Path, asked: str | None = None) -> str:
    """The format of a file to write: what its suffix says, or, of another suffix, what was asked for.

    Raises:
        ValueError: if the suffix says another format than was asked for, or neither says one.

    >>> format_of(Path("x.onnx")), format_of(Path("x.bin"), "safetensors")
    ('onnx', 'safetensors')
    """
    suffix = path.suffix.removeprefix(".")
    found = suffix if suffix in FORMATS else asked
    if found is None or asked not in (None, found):
        got = "" if asked is None else f" with format {asked}"
        raise ValueError(f"the file must end in .safetensors or .onnx, as its format; got {path}{got}")
    return found


def load(path: Path, trust: Sequence[str] = ()) -> nn.Module:
    """The network in a packed file, built from what the file says about itself, in eval mode.

    Args:
        path: what ``export`` wrote.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks the file may name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, does not name its network, or names one that is not trusted.
    """
    packed = read_packed(path)
    if "net" not in packed.about:
        raise ValueError(f"{path} does not name its network; build it and give it: lit_privq.load(path, net)")
    net = build_trusted(packed.about["net"], trust, path)
    dtypes = {value.dtype for value in packed.state.values() if value.is_floating_point()}
    if len(dtypes) == 1:
        net.to(dtypes.pop())  # networks are built in float32
    fill(net, packed.state, path)
    return net.eval()


def size_on_disk(checkpoint: Mapping[str, Any]) -> int:
    """Bytes of the packed file that a quantized checkpoint would become, without its model card."""
    return len(packed_bytes(_state(checkpoint), checkpoint["quantization"], _about(checkpoint)))


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq export",
        description=__doc__,
        epilog="example: python -m lit_privq export --ckpt DIR/checkpoints/brecq-2/000.ckpt --output 000.safetensors",
    )
    made.add_argument("--ckpt", type=Path, required=True, help="a quantized checkpoint")
    made.add_argument("--output", type=Path, required=True, help="the file to write, .safetensors or .onnx")
    made.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="PACKAGE",
        help="packages, beside torchvision and lit_privq, whose networks the checkpoint may name",
    )
    made.add_argument("--format", choices=FORMATS, help="of the file, where its suffix does not say")
    onnx = made.add_argument_group("for onnx, where the checkpoint does not say")
    onnx.add_argument("--image_shape", type=int, nargs="+", metavar="SIZE", help="channels, height and width")
    onnx.add_argument("--mean", type=float, nargs="*", help="per channel, in units of pixel / 255; none for raw inputs")
    onnx.add_argument("--std", type=float, nargs="*", help="per channel, likewise")
    return made


def _state(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    return without_prefix(checkpoint["state_dict"], "net")


def _about(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a packed file says about its network: how to build it, what it takes, and how it was made."""
    made = checkpoint["lit_privq"]
    plain = {name: value for name, value in made.items() if isinstance(value, str | int | float)}
    takes = {name: list(made[name]) for name in ("image_shape", "mean", "std") if name in made}
    return {**plain, **takes, "net": checkpoint["hyper_parameters"]["net"]}


def _image_shape(checkpoint: Mapping[str, Any], options: argparse.Namespace) -> Sequence[int]:
    shape: Sequence[int] | None = options.image_shape or checkpoint["lit_privq"].get("image_shape")
    if shape is None:
        raise ValueError(f"{options.ckpt} does not say how large its images are; add --image_shape, such as 3 32 32")
    return shape


def _normalisation(
    checkpoint: Mapping[str, Any], options: argparse.Namespace
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std per channel, as in training."""
    made = checkpoint["lit_privq"]
    mean = made.get("mean") if options.mean is None else options.mean
    std = made.get("std") if options.std is None else options.std
    if mean is None or std is None:
        raise ValueError(
            f"{options.ckpt} does not say how its images were normalised; add --mean and --std per channel, as in the "
            "data config, such as --mean 0.287 --std 0.353 (both without a value for inputs that were not normalised)"
        )
    return mean, std


def _summary(path: Path, size: int, checkpoint: Mapping[str, Any]) -> str:
    float_size = sum(value.numel() * value.element_size() for value in checkpoint["state_dict"].values())
    layers = checkpoint["quantization"].values()
    codes = sum(layer["codes"].numel() for layer in layers if not is_pruned(layer))
    pruned = [layer["kept"] for layer in layers if is_pruned(layer)]
    parts = [f"{codes:,} of its numbers are codes"] if codes or not pruned else []
    if pruned:
        zeros = sum(int((~kept).sum()) for kept in pruned)
        parts.append(f"{zeros:,} of {sum(kept.numel() for kept in pruned):,} weights are pruned")
    return (
        f"{path}: {size:,} bytes, {float_size / size:.1f} times smaller than the float network ({float_size:,} bytes); "
        + ", ".join(parts)
    )
