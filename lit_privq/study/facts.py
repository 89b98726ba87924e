"""Names and sizes of a study's data, network and methods, and whether they fit, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonargparse
from torch import nn

from lit_privq.arguments import is_from_parser, sentence
from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.construction import Spec, build, network_name
from lit_privq.artifacts.variant import for_network
from lit_privq.classifier import ShadowTraining, check_fits
from lit_privq.cli import run_cli
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.data.pool import Pool
from lit_privq.dp_sgd.checks import check_network
from lit_privq.quantization.layers import is_layer, last_layer, modules_of
from lit_privq.quantization.method import Method
from lit_privq.quantization.network import check_quantizable
from lit_privq.study.recipe import find
from lit_privq.study.study_file import MethodRow, Recipe, Study

_GRID_BYTES = 8  # scale and zero of an output channel


def facts(study: Study, overrides: list[str]) -> dict[str, Any]:
    """Read the data, build the network of each recipe and check every method against it.

    Args:
        study: what `read_study` returned.
        overrides: options of the study, as on the command line of a training.

    Returns:
        Names for the record (``dataset``, ``net``, ``titles`` of methods) and sizes for the plan: ``examples`` of pool
        and test set, and by recipe, as variants spell it, the bytes of a checkpoint in full precision and quantized,
        ``float_bytes``, ``code_bytes``; ``fixed``, the methods that give the same result whenever they are repeated.

    Raises:
        FileNotFoundError: if the data are not there.
        ValueError: if a network and the data do not belong together, or a method cannot quantize a network.
    """
    methods = {row.name: _method(row) for row in study.quantize}
    pools, nets = list[Pool](), dict[str, Spec]()
    for recipe in study.recipes:
        data, model = _read(recipe, overrides)
        spec = model.spec
        pools.append(data.pool)
        _check_same(pools[0], data.pool, recipe)
        check_fits(build(spec), data.pool)
        if model.dp_sgd:
            _check_private(recipe, build(spec), data.pool.inputs.shape[1:])
        rows = [row for row in study.quantize if set(row.recipes) & set(recipe.names)]
        if rows:
            data.calibration(study.n_models - 1)  # refuses a calibration_size before all shadows are trained
        for row in rows:
            _check(build(spec), methods[row.name], row, data.pool.inputs.shape[1:])
        nets |= {study.trained(name).recipe: spec for name in recipe.names}
    sizes = {name: _bytes(build(spec)) for name, spec in nets.items()}
    return {
        "dataset": pools[0].name,
        "net": ", ".join(dict.fromkeys(network_name(spec) for spec in nets.values())),
        "titles": _titles(methods),
        "fixed": [row.name for row in study.quantize if _is_fixed(methods[row.name], config_tree(Path(row.method)))],
        "examples": pools[0].n_examples,
        "float_bytes": {name: whole for name, (whole, _) in sizes.items()},
        "code_bytes": {name: codes for name, (_, codes) in sizes.items()},
    }


def _read(recipe: Recipe, overrides: list[str]) -> tuple[ShadowDataModule, ShadowTraining]:
    """The data that a recipe trains on, and the module that trains."""
    try:
        cli = run_cli(["--config", recipe.shadow, *overrides], run=False)
    except (jsonargparse.ArgumentError, ValueError) as error:
        if not is_from_parser(error):
            raise
        raise ValueError(f"{recipe.shadow}: {sentence(str(error))}") from None
    return cli.datamodule, cli.model


def _check_same(first: Pool, pool: Pool, recipe: Recipe) -> None:
    """Refuse a recipe whose examples or labels are others, before anything is trained."""
    for what, ours, theirs in (
        ("pool", first.name, pool.name),
        ("examples", len(first.labels), len(pool.labels)),
        ("test examples", len(first.test_labels), len(pool.test_labels)),
        ("classes", first.n_classes, pool.n_classes),
    ):
        if ours != theirs:
            raise ValueError(
                f"all recipes of a study must have the same {what}; {recipe.name} has {theirs}, the first {ours}: name "
                f"the same data config in {recipe.shadow}"
            )


def _check_private(recipe: Recipe, net: nn.Module, image_shape: tuple[int, ...]) -> None:
    """Refuse a network that DP-SGD cannot take before the recipes that stand before it are trained."""
    try:
        check_network(net, image_shape)
    except ValueError as error:
        raise ValueError(f"{recipe.shadow}: {error}") from None


def _method(row: MethodRow) -> Method:
    """The quantizer that a method's config names."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--method", type=Method)
    try:
        parsed = parser.parse_object({"method": find(config_tree(Path(row.method)), "method")})
        method: Method = parser.instantiate(parsed).method
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


def _is_fixed(method: Method, tree: dict[str, Any]) -> bool:
    """Whether neither calibration examples nor a seed enter; a method of one's own that draws has ``random = True``."""
    looks = method.needs_gram or method.needs_activations or getattr(method, "random", False)
    return not (looks or find(tree, "bias_correction") or find(tree, "batch_norm_batches"))


def _titles(methods: dict[str, Method]) -> dict[str, str]:
    """How the methods are written, by name: as they say, or as classes of the same name are (``obc``: ``OBC``)."""
    titles = {name: getattr(method, "title", type(method).__name__) for name, method in methods.items()}
    return {name: title for name, title in titles.items() if title.lower() == name or hasattr(methods[name], "title")}


def _bytes(net: nn.Module) -> tuple[int, int]:
    """Bytes of a network's tensors, and with a byte for every weight that can be quantized."""
    whole = sum(value.numel() * value.element_size() for value in net.state_dict().values())
    weights = {id(module.weight): module.weight for module in modules_of(net).values() if is_layer(module)}
    saved = sum(weight.numel() * (weight.element_size() - 1) - _GRID_BYTES * len(weight) for weight in weights.values())
    return whole, whole - saved
