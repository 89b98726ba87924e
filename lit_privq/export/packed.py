"""Quantized networks on disk at the size that their bits promise: safetensors with several codes to a byte.

The file of a network holds, for each parameter P that is quantized, ``P.codes`` (uint8, see `pack`), ``P.scale`` and
``P.zero`` (rows,). For each that is pruned it holds ``P.values`` (float16) and where they lie in the layer's matrix,
row by row, in the smaller of two encodings: ``P.gaps`` (uint8, see `lit_privq.quantization.storage.gaps`), or
``P.mask``, a bit for each weight. Everything else is there under its own name and in its own type. As a parameter has
no parts, no tensor of a network can have one of these names. The metadata entry ``lit_privq`` is JSON:

    sha256: of the whole file, taken with 64 zeros in this place
    format: 2, or 3 if there are pruned layers
    layers: name -> levels or dtype, parameter, shape and transposed_groups, as in `StoredLayer`; rows of a pruned one
    versions: of the network's modules, as PyTorch keeps them
    about: how to build the network, and how it was made
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lit_privq.artifacts.codes import StoredLayer, is_pruned, parameter_of, stored_weight, without_weights
from lit_privq.artifacts.state import State, load_state, versioned, versions_of
from lit_privq.quantization.storage import gaps, group, places

_ENTRY, _FORMATS = "lit_privq", (2, 3)
_DESCRIBED = ("levels", "dtype", "parameter", "shape", "transposed_groups")
_PARTS = ("codes", "scale", "zero", "mask", "gaps", "values")
_MARK, _DIGITS = rb"{\"sha256\":\"", 64  # what stands before the checksum, JSON in JSON; its length


@dataclass(frozen=True)
class Packed:
    """A packed file that was read.

    Args:
        about: what was said about the network when it was packed.
        state: of the network, weights of quantized layers included.
    """

    about: Mapping[str, Any]
    state: State


def pack(codes: Tensor, levels: int) -> Tensor:
    """Codes of any shape as bytes: each group is a number to the base `levels`, least significant code and byte first.

    >>> pack(torch.tensor([2, 1, 0, 0, 0, 1]), levels=3).tolist()
    [5, 1]
    """
    count, size = group(levels)
    flat = codes.flatten().to(torch.int64)
    digits = torch.zeros(ceil(len(flat) / count) * count, dtype=torch.int64)
    digits[: len(flat)] = flat
    numbers = (digits.view(-1, count) * _places(levels, count)).sum(dim=1, keepdim=True)  # (groups, 1)
    return (numbers // _places(256, size) % 256).to(torch.uint8).flatten()


def unpack(packed: Tensor, levels: int, n_codes: int) -> Tensor:
    """The codes in so many bytes, (n_codes,) int64; the inverse of `pack`.

    >>> unpack(torch.tensor([5, 1], dtype=torch.uint8), levels=3, n_codes=6).tolist()
    [2, 1, 0, 0, 0, 1]
    """
    count, size = group(levels)
    numbers = (packed.to(torch.int64).view(-1, size) * _places(256, size)).sum(dim=1, keepdim=True)  # (groups, 1)
    return (numbers // _places(levels, count) % levels).flatten()[:n_codes]


def packed_bytes(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer], about: Mapping[str, Any]) -> bytes:
    """The file's content, so that its length is the size on disk.

    Args:
        state: parameters and buffers of the network, by name; weights of quantized layers may be missing.
        layers: the quantized layers, by name; their weights are stored as codes.
        about: plain values that describe the network and come back from `read_packed`.

    Raises:
        ValueError: if a weight in the state is not exactly what its layer stores, or the state holds other things than
            tensors.
    """
    kept = without_weights(state, layers)
    odd = [name for name, value in kept.items() if not isinstance(value, Tensor)]
    if odd:
        raise ValueError(f"a packed file holds tensors only; the network's extra state {odd} cannot be exported")
    tensors = {name: _copy(value) for name, value in kept.items()}
    described = {}
    for name, layer in layers.items():
        parts = _sparse_parts(layer) if is_pruned(layer) else _dense_parts(layer)
        tensors |= {f"{parameter_of(name, layer)}.{part}": value for part, value in parts.items()}
        described[name] = {key: layer[key] for key in _DESCRIBED if key in layer}
        described[name] |= {"rows": len(layer["kept"])} if is_pruned(layer) else {}
    header = {
        "sha256": "0" * _DIGITS,
        "format": 3 if any(map(is_pruned, layers.values())) else 2,
        "layers": described,
        "versions": versions_of(state),
        "about": dict(about),
    }
    content = safetensors.torch.save(tensors, metadata={_ENTRY: json.dumps(header, separators=(",", ":"))})
    return _sealed(content)


def read_packed(path: Path) -> Packed:
    """Read a packed file, its checksum verified.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, was not written here, or by another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no packed network {path}; write one with python -m lit_privq export")
    content = path.read_bytes()
    try:
        header = dict(json.loads(_metadata(content)[_ENTRY]))
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged or was not written by lit_privq export ({error})") from error
    if "format" in header and _sealed(content) != content:
        raise ValueError(f"{path} is damaged: its checksum is not that of its content; copy or export it again")
    if header.get("format") not in _FORMATS:
        raise ValueError(
            f"{path} was packed by another version of lit_privq; write it anew from its checkpoint: "
            f"python -m lit_privq export --ckpt X.ckpt --output {path}"
        )
    tensors = safetensors.torch.load(content)
    for name, layer in header["layers"].items():
        parameter = parameter_of(name, layer)
        parts = {part: tensors.pop(f"{parameter}.{part}") for part in _PARTS if f"{parameter}.{part}" in tensors}
        tensors[parameter] = stored_weight({**layer, **_unpacked(layer, parts)})
    return Packed(header["about"], versioned(tensors, header["versions"]))


def load_packed(path: Path, net: nn.Module) -> nn.Module:
    """Fill a network of the same architecture from a packed file, bit for bit as it was, and return it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `read_packed` refuses it, or it holds another architecture or other types of numbers; the network
            is then as it was before.
    """
    fill(net, read_packed(path).state, path)
    return net


def fill(net: nn.Module, state: State, path: Path) -> None:
    """Load a state into a network if all of it fits: names, shapes and types."""
    own = net.state_dict()
    for name in own:
        if name in state and own[name].dtype != state[name].dtype:
            raise ValueError(
                f"{path} holds {name} in {state[name].dtype}, and the network has {own[name].dtype}; "
                f"convert the network first, as with net.to({state[name].dtype})"
            )
    try:
        load_state(copy.deepcopy(net), state)  # on a copy: PyTorch writes up to the first tensor that does not fit
    except ValueError as error:
        raise ValueError(f"{path} holds another network: {error}") from error
    load_state(net, state)


def _dense_parts(layer: StoredLayer) -> dict[str, Tensor]:
    """Tensors of a quantized layer."""
    grid = {part: _copy(layer[part].flatten()) for part in ("scale", "zero")}
    return {"codes": pack(layer["codes"], layer["levels"]), **grid}


def _sparse_parts(layer: StoredLayer) -> dict[str, Tensor]:
    """Tensors of a pruned layer, in the encoding that takes less."""
    kept, values = layer["kept"].flatten(), layer["values"]
    mask = pack(kept, 2)
    between, stored = (torch.from_numpy(one) for one in gaps(kept.numpy()))
    if 3 * len(between) >= len(mask) + 2 * len(values):
        return {"mask": mask, "values": _copy(values)}
    with_fillers = torch.zeros(len(kept), dtype=values.dtype)
    with_fillers[kept] = values
    return {"gaps": between, "values": with_fillers[stored]}


def _unpacked(layer: Mapping[str, Any], parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a layer stores, of its tensors in the file."""
    n_weights = torch.Size(layer["shape"]).numel()
    if "codes" in parts:
        codes = unpack(parts["codes"], layer["levels"], n_weights).view(len(parts["scale"]), -1)  # (rows, columns)
        return {"codes": codes, "scale": parts["scale"].unsqueeze(1), "zero": parts["zero"].unsqueeze(1)}
    if "mask" in parts:
        kept = unpack(parts["mask"], 2, n_weights).bool()  # (weights,)
    else:
        kept = torch.zeros(n_weights, dtype=torch.bool)
        kept[torch.from_numpy(places(parts["gaps"].numpy()))] = True
    return {"kept": kept.view(layer["rows"], -1), "values": parts["values"]}


def _copy(value: Tensor) -> Tensor:
    """On the CPU and in memory of its own: safetensors refuses tied parameters, which are written once per name."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _places(base: int, count: int) -> Tensor:
    return base ** torch.arange(count)


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file: its first 8 bytes are the length of the JSON that follows."""
    size = int.from_bytes(content[:8], "little")
    read: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return read


def _sealed(content: bytes) -> bytes:
    """The file with the checksum of everything else in its place; a file whose checksum is right stays as it is."""
    before, mark, after = content.partition(_MARK)
    blank = before + mark + b"0" * _DIGITS + after[_DIGITS:]
    return before + mark + hashlib.sha256(blank).hexdigest().encode() + after[_DIGITS:]
