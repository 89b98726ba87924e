"""Names and sizes of a study's data, network and methods, and whether they fit, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonargparse
from torch import nn

from lit_privq.arguments import sentence
from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.construction import build, network_name
from lit_privq.artifacts.variant import for_network
from lit_privq.cli import run_cli
from lit_privq.quantization.layers import is_layer, last_layer, modules_of
from lit_privq.quantization.method import Method
from lit_privq.quantization.network import check_quantizable
from lit_privq.study.recipe import find
from lit_privq.study.study_file import MethodRow, Study

_GRID_BYTES = 8  # scale and zero of an output channel


def facts(study: Study, overrides: list[str]) -> dict[str, Any]:
    """Read the data, build the network and check every method against it.

    Args:
        study: what `read_study` returned.
        overrides: options of the study, as on the command line of a training.

    Returns:
        Names for the record (``dataset``, ``net``, ``titles`` of methods) and sizes for the plan: ``examples`` of pool
        and test set, and the bytes of a checkpoint in full precision and quantized, ``float_bytes``, ``code_bytes``.

    Raises:
        FileNotFoundError: if the data are not there.
        ValueError: if network and data do not belong together, or a method cannot quantize the network.
    """
    try:
        cli = run_cli(["--config", study.shadow, *overrides], run=False)
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"{study.shadow}: {sentence(str(error))}") from None
    pool, spec = cli.datamodule.pool, cli.model.spec
    net = build(spec)
    if study.quantize:
        cli.datamodule.calibration(study.n_models - 1)  # refuses a calibration_size before all shadows are trained
    methods = {row.name: _method(row) for row in study.quantize}
    for row in study.quantize:
        _check(net, methods[row.name], row, pool.inputs.shape[1:])
    float_bytes, code_bytes = _bytes(net)
    return {
        "dataset": pool.name,
        "net": network_name(spec),
        "titles": _titles(methods),
        "examples": pool.n_examples,
        "float_bytes": float_bytes,
        "code_bytes": code_bytes,
    }


def _method(row: MethodRow) -> Method:
    """The quantizer that a method's config names."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--method", type=Method)
    try:
        parsed = parser.parse_object({"method": find(config_tree(Path(row.method)), "method")})
        method: Method = parser.instantiate_classes(parsed).method
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{row.method} must name a quantizer; {' '.join(str(error).split())}") from None
    return method


def _check(net: nn.Module, method: Method, row: MethodRow, image_shape: tuple[int, ...]) -> None:
    """Refuse a network that a method cannot quantize before all shadows are trained."""
    bits = [for_network(one, last_layer(net)) for one in row.bits]
    try:
        check_quantizable(net, method, bits, image_shape)
    except ValueError as error:
        raise ValueError(f"{row.method} cannot quantize this network: {error}") from error


def _titles(methods: dict[str, Method]) -> dict[str, str]:
    """How the methods are written, by name: as their classes, where these have the same name (``obc``: ``OBC``)."""
    titles = {name: type(method).__name__ for name, method in methods.items()}
    return {name: title for name, title in titles.items() if title.lower() == name}


def _bytes(net: nn.Module) -> tuple[int, int]:
    """Bytes of a network's tensors, and with a byte for every weight that can be quantized."""
    whole = sum(value.numel() * value.element_size() for value in net.state_dict().values())
    weights = {id(module.weight): module.weight for module in modules_of(net).values() if is_layer(module)}
    saved = sum(weight.numel() * (weight.element_size() - 1) - _GRID_BYTES * len(weight) for weight in weights.values())
    return whole, whole - saved
