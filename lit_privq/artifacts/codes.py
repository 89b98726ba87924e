"""Quantized layers as files keep them: codes and grids, from which the weights follow bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lit_privq.quantization.method import Quantized

StoredLayer: TypeAlias = Mapping[str, Any]
"""A layer in a checkpoint.

codes: (rows, columns) uint8 (int16 in files of earlier versions). scale, zero: (rows, 1). levels: int.
bits: float. shape: of the weight. These two are missing in files of earlier versions, which hold the weight itself.
"""


def stored_layer(net: nn.Module, name: str, quantized: Quantized, bits: float) -> dict[str, Any]:
    """One quantized layer of one network in plain types, on the CPU."""
    return {
        "codes": quantized.codes[0].to(torch.uint8).cpu(),
        "scale": quantized.scale[0].cpu(),
        "zero": quantized.zero[0].cpu(),
        "levels": int(quantized.levels[0]),
        "bits": bits,
        "shape": list(net.get_parameter(f"{name}.weight").shape),
    }


def stored_weight(layer: StoredLayer) -> Tensor:
    """The weight of a stored layer, by the very operations that made it."""
    weight: Tensor = layer["scale"] * (layer["codes"].to(layer["scale"].dtype) - layer["zero"])  # (rows, columns)
    return weight.reshape(layer["shape"])


def without_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> dict[str, Tensor]:
    """A network's state without the weights that follow from the codes of its layers.

    Raises:
        ValueError: if a weight is not exactly scale * (codes - zero).
    """
    for name, layer in layers.items():
        weight = state[f"{name}.weight"].cpu()
        if not torch.equal(stored_weight({"shape": weight.shape, **layer}), weight):
            raise ValueError(f"layer {name}: its weight is not the one its codes describe; quantize the model again")
    weights = {f"{name}.weight" for name in layers}
    return {name: value for name, value in state.items() if name not in weights}


def with_weights(state: Mapping[str, Tensor], layers: Mapping[str, StoredLayer]) -> dict[str, Tensor]:
    """The inverse of `without_weights`; a weight that is there is kept."""
    weights = {
        f"{name}.weight": stored_weight(layer) for name, layer in layers.items() if f"{name}.weight" not in state
    }
    return {**state, **weights}
