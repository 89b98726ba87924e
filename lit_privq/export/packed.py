"""Quantized networks on disk at the size their bits promise: several codes to a byte, in safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lit_privq.artifacts.codes import parameter_of, stored_weight

Stored = Mapping[str, Any]
"""A layer as a checkpoint keeps it: codes (rows, columns), scale and zero (rows, 1), levels."""

_ABOUT = "lit_privq"


def codes_per_byte(levels: int) -> int:
    """How many codes share a byte: the most whose combinations it can tell apart.

    >>> [codes_per_byte(levels) for levels in (2, 3, 4, 16, 256)]
    [8, 5, 4, 2, 1]
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"packed codes have 2 to 256 levels (1 to 8 bits); got {levels}")
    return max(count for count in range(1, 9) if levels**count <= 256)


def pack(codes: Tensor, levels: int) -> Tensor:
    """Codes of any shape as bytes: digits of a number to the base `levels`, the first code least significant.

    >>> pack(torch.tensor([2, 1, 0, 0, 0, 1]), levels=3).tolist()
    [5, 1]
    """
    count = codes_per_byte(levels)
    flat = codes.flatten().to(torch.int64)
    digits = torch.zeros(ceil(len(flat) / count) * count, dtype=torch.int64)
    digits[: len(flat)] = flat
    return (digits.view(-1, count) * _places(levels, count)).sum(dim=1).to(torch.uint8)


def unpack(packed: Tensor, levels: int, n_codes: int) -> Tensor:
    """The codes in so many bytes, (n_codes,) int64; the inverse of `pack`.

    >>> unpack(torch.tensor([5, 1], dtype=torch.uint8), levels=3, n_codes=6).tolist()
    [2, 1, 0, 0, 0, 1]
    """
    places = _places(levels, codes_per_byte(levels))
    digits = packed.to(torch.int64).unsqueeze(1) // places % levels  # (bytes, codes per byte)
    return digits.flatten()[:n_codes]


def packed_bytes(state: Mapping[str, Tensor], layers: Mapping[str, Stored], about: Mapping[str, Any]) -> bytes:
    """The file's content, so that its length is the size on disk.

    Args:
        state: parameters and buffers of the network, by name.
        layers: of the quantized layers, by name; their weights are stored as codes, everything else as it is.
        about: plain values that describe the network and come back from `read_about`.

    Raises:
        ValueError: if a weight in the state is not exactly scale * (codes - zero), or has more than 256 levels.
    """
    tensors = {name: _copy(value) for name, value in state.items()}
    described = {}
    for name, layer in layers.items():
        weight = tensors.pop(parameter_of(name, layer))
        if not torch.equal(stored_weight({"shape": weight.shape, **layer}), weight):
            raise ValueError(f"layer {name}: its weight is not the one its codes describe; quantize the model again")
        tensors[f"{name}.codes"] = pack(layer["codes"], int(layer["levels"]))
        tensors[f"{name}.scale"] = _copy(layer["scale"].flatten())
        tensors[f"{name}.zero"] = _copy(layer["zero"].flatten())
        described[name] = {"levels": int(layer["levels"]), "shape": list(weight.shape)}
        described[name] |= {key: layer[key] for key in ("parameter", "transposed_groups") if key in layer}
    text = json.dumps({"layers": described, "about": dict(about)}, separators=(",", ":"))
    return safetensors.torch.save(tensors, metadata={_ABOUT: text})


def load_packed(path: Path, net: nn.Module) -> nn.Module:
    """Fill a network of the same architecture from a packed file, bit for bit as it was, and return it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, was not written here, or holds another architecture.
    """
    layers = _metadata(path)["layers"]
    state = safetensors.torch.load_file(path)
    for name, layer in layers.items():
        shape, levels = layer["shape"], layer["levels"]
        codes, scale, zero = (state.pop(f"{name}.{part}") for part in ("codes", "scale", "zero"))
        whole = unpack(codes, levels, torch.Size(shape).numel()).view(len(scale), -1)  # (rows, columns)
        stored = {**layer, "codes": whole, "scale": scale.unsqueeze(1), "zero": zero.unsqueeze(1)}
        state[parameter_of(name, layer)] = stored_weight(stored)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} holds another network: {str(error).splitlines()[1].strip()}") from error
    return net


def read_about(path: Path) -> dict[str, Any]:
    """What was said about the network when it was packed."""
    about: dict[str, Any] = _metadata(path)["about"]
    return about


def _copy(value: Tensor) -> Tensor:
    """On the CPU and in memory of its own: safetensors refuses tied parameters, which are written once per name."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _places(levels: int, count: int) -> Tensor:
    return levels ** torch.arange(count)


def _metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no packed network {path}; write one with python -m lit_privq export")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            read: dict[str, Any] = json.loads((file.metadata() or {})[_ABOUT])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or was not written by lit_privq export ({error})") from error
    return read
