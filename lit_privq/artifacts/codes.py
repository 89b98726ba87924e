"""Quantized and pruned layers as files keep them; their weights follow from that bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lit_privq.artifacts.state import State, versioned, versions_of, with_prefix, without_prefix
from lit_privq.quantization.layers import from_rows, modules_of, parameter_name
from lit_privq.quantization.solution import Pruned, Quantized, Solution

StoredLayer: TypeAlias = Mapping[str, Any]
"""A quantized or pruned layer in a checkpoint, on the CPU.

codes: (rows, columns) uint8; in files of earlier versions int16.
scale, zero: (rows, 1).
levels: int.
kept: (rows, columns) bool; of a pruned layer, in place of codes, scale, zero and levels.
values: (kept,) float16, row by row; likewise.
dtype: name of the weight's type, such as float32; likewise.
bits: float.
parameter: name of its weight in the network's state.
shape: of its weight.
transposed_groups: of a transposed convolution, whose rows are not the first axis of its weight; 0 for other layers.

Where it lies, the last three, is missing in files of earlier versions, which hold the weight itself.
"""


def stored_layer(net: nn.Module, name: str, solution: Solution, bits: float) -> dict[str, Any]:
    """One layer of one quantized or pruned network in plain types.

    Raises:
        ValueError: if the solution is of a kind that no file keeps.
    """
    small = solution.compact()
    if isinstance(small, Quantized):
        parts = {"codes": small.codes[0], "scale": small.scale[0], "zero": small.zero[0], "levels": int(small.levels)}
    elif isinstance(small, Pruned):
        values, dtype = small.values[0], str(solution.weight().dtype).removeprefix("torch.")
        parts = {"kept": values != 0, "values": values[values != 0], "dtype": dtype}
    else:
        raise ValueError(f"layer {name}: files keep Quantized and Pruned layers; got {type(solution).__name__}")
    return {**parts, "bits": bits, **layout(net, name)}


def is_pruned(layer: StoredLayer) -> bool:
    """Whether a stored layer has values in place of codes."""
    return "codes" not in layer


def layout(net: nn.Module, name: str) -> dict[str, Any]:
    """Where the weight of a layer belongs: its parameter, its shape, and how the rows of its matrix lie in it."""
    layer = modules_of(net)[name]
    groups = layer.groups if isinstance(layer, nn.ConvTranspose2d) else 0
    parameter = parameter_name(net, name)
    return {"parameter": parameter, "shape": list(net.get_parameter(parameter).shape), "transposed_groups": groups}


def parameter_of(name: str, layer: StoredLayer) -> str:
    """The name of a stored layer's weight in the network's state."""
    parameter: str = layer.get("parameter", f"{name}.weight")
    return parameter


def stored_weight(layer: StoredLayer) -> Tensor:
    """The weight of a stored layer, by the very operations that made it."""
    if is_pruned(layer):
        weight = torch.zeros(layer["kept"].shape, dtype=getattr(torch, layer["dtype"]))  # (rows, columns)
        weight[layer["kept"]] = layer["values"].to(weight)
    else:
        weight = layer["scale"] * (layer["codes"].to(layer["scale"].dtype) - layer["zero"])  # (rows, columns)
    return from_rows(weight, layer["shape"], layer.get("transposed_groups", 0))[0]


def without_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> State:
    """A network's state without the weights that follow from codes.

    Raises:
        ValueError: if a weight is not exactly what its codes or values describe.
    """
    kept = dict(state)
    for name, layer in layers.items():
        weight = kept.pop(parameter_of(name, layer), None)
        if weight is not None and not torch.equal(stored_weight({"shape": weight.shape, **layer}), weight.cpu()):
            raise ValueError(f"layer {name}: its weight is not the one that is stored for it; quantize the model again")
    return versioned(kept, versions_of(state))


def with_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> State:
    """The inverse of `without_weights`; a weight that is there is kept."""
    weights = {parameter_of(name, layer): layer for name, layer in layers.items()}
    missing = {name: stored_weight(layer) for name, layer in weights.items() if name not in state}
    return versioned({**state, **missing}, versions_of(state))


def restore_weights(checkpoint: dict[str, Any]) -> None:
    """Add the weights that a quantized checkpoint leaves out, and the shapes that one of an earlier version does."""
    layers: dict[str, dict[str, Any]] = checkpoint.get("quantization", {})
    if not layers:
        return
    state = without_prefix(checkpoint["state_dict"], "net")
    for name, layer in layers.items():
        if "shape" not in layer:
            layer["shape"] = list(state[parameter_of(name, layer)].shape)
    checkpoint["state_dict"] = with_prefix(with_weights(state, layers), "net")
