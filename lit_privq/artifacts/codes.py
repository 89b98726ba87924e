"""Quantized layers as files keep them: codes and grids, from which the weights follow bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lit_privq.quantization.layers import from_rows, modules_of, parameter_name
from lit_privq.quantization.method import Quantized

StoredLayer: TypeAlias = Mapping[str, Any]
"""A layer in a checkpoint.

codes: (rows, columns) uint8 (int16 in files of earlier versions). scale, zero: (rows, 1). levels: int.
bits: float. shape: of the weight. parameter: its name in the network's state. transposed_groups: of a transposed
convolution, whose rows are not the first axis of its weight; 0 for other layers. The last three are missing in files of
earlier versions, which hold the weight itself.
"""


def stored_layer(net: nn.Module, name: str, quantized: Quantized, bits: float) -> dict[str, Any]:
    """One quantized layer of one network in plain types, on the CPU."""
    return {
        "codes": quantized.codes[0].to(torch.uint8).cpu(),
        "scale": quantized.scale[0].cpu(),
        "zero": quantized.zero[0].cpu(),
        "levels": int(quantized.levels[0]),
        "bits": bits,
        **layout(net, name),
    }


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
    weight: Tensor = layer["scale"] * (layer["codes"].to(layer["scale"].dtype) - layer["zero"])  # (rows, columns)
    return from_rows(weight, layer["shape"], layer.get("transposed_groups", 0))[0]


def without_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> dict[str, Tensor]:
    """A network's state without the weights that follow from the codes of its layers.

    Raises:
        ValueError: if a weight is not exactly scale * (codes - zero).
    """
    for name, layer in layers.items():
        weight = state[parameter_of(name, layer)].cpu()
        if not torch.equal(stored_weight({"shape": weight.shape, **layer}), weight):
            raise ValueError(f"layer {name}: its weight is not the one its codes describe; quantize the model again")
    weights = {parameter_of(name, layer) for name, layer in layers.items()}
    return {name: value for name, value in state.items() if name not in weights}


def with_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> dict[str, Tensor]:
    """The inverse of `without_weights`; a weight that is there is kept."""
    weights = {parameter_of(name, layer): layer for name, layer in layers.items()}
    return {**state, **{name: stored_weight(layer) for name, layer in weights.items() if name not in state}}
