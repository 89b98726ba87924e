"""What must hold of networks, images, precisions and solutions; each refusal names the thing and the remedy."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from lit_privq.quantization.graph import Graph, Piece
from lit_privq.quantization.layers import modules_of, n_groups, to_matrix
from lit_privq.quantization.method import UnitProblem, levels_from_bits
from lit_privq.quantization.solution import Solution

logger = logging.getLogger(__name__)

Bits: TypeAlias = float | Mapping[str, float]
"""One precision for all layers, or shell patterns of layer names -> precision, of which the last match wins.

In a map, 32 leaves a layer in float.
"""

FLOAT = 32
"""Bits, in a map, of a layer that stays float."""
_GRAM_COPIES = 6.0
"""Peak memory of a layer's solution over that of its gram matrix in float64: float64 and float32 copies and factors.

Measured on a CPU, one model at one precision: 5.0 with GPTQ at 4,096 columns; at 2,048 columns 5.5 with GPTQ and OBC,
6.3 with Descent.
"""
_WORTH_SAYING = 2**30
"""Bytes of gram matrices from which on their size is logged."""


# ------------------------------------------------------------------------------------------------ precisions


def bits_of(layer: str, bits: Bits) -> float:
    """The precision of a layer.

    Raises:
        ValueError: if no pattern matches the layer.

    >>> bits_of("layer1.0.conv1", {"*": 1.58, "fc": 8}), bits_of("fc", {"*": 1.58, "fc": 8}), bits_of("fc", 2)
    (1.58, 8, 2)
    """
    if not isinstance(bits, Mapping):
        return bits
    matches = [value for pattern, value in bits.items() if fnmatchcase(layer, pattern)]
    if not matches:
        raise ValueError(f'no pattern of bits matches layer {layer}; got {list(bits)}, add "*" for all other layers')
    return matches[-1]


def stays_float(name: str, bits: Bits) -> bool:
    """Whether a map of bits leaves the weight of this name in float.

    >>> stays_float("head", {"*": 2, "head": 32}), stays_float("conv1", {"*": 2, "head": 32}), stays_float("head", 32)
    (True, False, False)
    """
    return isinstance(bits, Mapping) and bits_of(name, bits) == FLOAT


def levels_of(layer: str, bits: Sequence[Bits]) -> Tensor:
    """Levels of a layer at each precision, (precisions,); 0 where it stays float.

    Raises:
        ValueError: naming the layer, if no pattern matches it or a precision is none.
    """
    try:
        return torch.tensor([0 if stays_float(layer, one) else levels_from_bits(bits_of(layer, one)) for one in bits])
    except ValueError as error:
        raise ValueError(f"layer {layer}: {error}") from error


def check_patterns(bits: Sequence[Bits], names: Sequence[str]) -> None:
    """Refuse a pattern that matches no weight, and a precision at which nothing is quantized."""
    for pattern in [pattern for one in bits if isinstance(one, Mapping) for pattern in one]:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"pattern {pattern!r} of bits matches no layer; the layers are {', '.join(names)}")
    for one in bits:
        if all(stays_float(name, one) for name in names):
            raise ValueError(f"bits {one} leaves all {len(names)} weights in float; give some of them 1 to 8 bits")


# ------------------------------------------------------------------------------------------------ networks and images


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Images of several models as one tensor, (models, examples, ...).

    Raises:
        ValueError: if they differ in number, shape or type.
    """
    kinds = {f"{one.dtype} {list(one.shape)}" for one in images}
    if len(kinds) != 1:
        raise ValueError(f"each model needs calibration images of the same number, shape and type; got {sorted(kinds)}")
    return torch.stack(list(images))


def check_nets(nets: Sequence[nn.Module], images: Tensor, seeds: Sequence[int]) -> None:
    """Refuse networks that are not alike, not finite or in training mode, and images that they do not take."""
    if not nets or not len(nets) == len(images) == len(seeds):
        raise ValueError(
            "networks, calibration images and seeds must be one per model; "
            f"got {len(nets)}, {len(images)} and {len(seeds)}"
        )
    if images.ndim < 2 or not images.shape[1]:
        raise ValueError(f"no calibration data: images must be (models, examples, ...); got {list(images.shape)}")
    _check_finite(nets, images)
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in nets]
    for model, net in enumerate(nets):
        if any(module.training for module in net.modules()):
            raise ValueError(f"networks must be in eval mode while they are quantized; call eval() on model {model}")
        if shapes[model] != shapes[0]:
            odd = sorted({name for name, _ in shapes[model].items() ^ shapes[0].items()})
            raise ValueError(
                f"all networks must be of one architecture; model {model} differs from model 0 in {odd[:5]}"
            )
        _check_norms(net, model)
        _check_images(net, model, images[model, :1])


def _check_norms(net: nn.Module, model: int) -> None:
    """Refuse a batch norm that takes the statistics of each batch, in evaluation too."""
    for name, module in net.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"batch norm {name} of model {model} has no running statistics, so that results would depend on "
                "batch_size; train with track_running_stats=True"
            )


@torch.no_grad()
def _check_images(net: nn.Module, model: int, image: Tensor) -> None:
    """Refuse calibration images that a network does not take, (1, ...)."""
    try:
        net(image)
    except (RuntimeError, ValueError, IndexError) as error:
        own, reason = next(net.parameters(), image), str(error).partition("\n")[0]
        got = f"{image.dtype} {list(image.shape[1:])} on {image.device}"
        remedy = "give them in the shape and on the device that it takes, as in training"
        if image.dtype != own.dtype:
            remedy = f"convert them to the network's {own.dtype}, scaled and normalised as in training"
        raise ValueError(
            f"model {model} does not run on its calibration images, each {got}; {remedy} ({reason})"
        ) from error


def _check_finite(nets: Sequence[nn.Module], images: Tensor) -> None:
    """Buffers may hold infinities, as masks do; what these make of activations is looked at in every unit."""
    for model, (net, own) in enumerate(zip(nets, images, strict=True)):
        odd = [name for name, value in net.named_parameters() if not value.isfinite().all()]
        if odd:
            raise ValueError(f"parameters of model {model} are not finite: {odd[:5]}; check its checkpoint for NaN")
        bad = (~own.isfinite()).flatten(1).any(dim=1).nonzero().flatten()  # examples
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(own)} calibration images of model {model} are not finite, the first is image "
                f"{int(bad[0])}; check the data and how it is normalised"
            )


@torch.no_grad()
def check_path(graph: Graph, pieces: Sequence[Piece], nets: Sequence[nn.Module], images: Tensor) -> None:
    """Refuse networks that the graph with their parameters does not reproduce, with the first unit that differs.

    The graph's own modules run, as they will for every model. Refused too are networks in which an image's output
    depends on the other images of its batch: their results would depend on the batch size.
    """
    if graph.output not in graph.kept:
        raise ValueError("the network must return one row per example")
    for model, (net, few) in enumerate(zip(nets, images, strict=True)):
        modules = modules_of(net)
        expected = _layer_inputs(net, list(graph.layers.values()), few)
        values = {graph.image: few}
        for piece in pieces:
            for name in piece.layers:
                ours = _run_on(graph.before(piece, name), graph, modules, values)
                if name in expected and not _close(ours, expected[name]):
                    raise ValueError(_refusal(piece.name, model))
            values[piece.output] = _run_on(piece, graph, modules, values)
        if not _close(values[graph.output], expected[""]):
            raise ValueError(_refusal(next(piece.name for piece in reversed(pieces) if piece.layers), model))
        _check_batch(net, model, graph, few, expected)


def _check_batch(net: nn.Module, model: int, graph: Graph, few: Tensor, expected: Mapping[str, Tensor]) -> None:
    """Refuse a network that answers an image differently in another batch."""
    alone = [_layer_inputs(net, list(graph.layers.values()), one[None]) for one in few]
    for name, together in expected.items():
        if not _near(torch.cat([one[name] for one in alone]), together):
            place = f"what enters layer {name}" if name else "the output"
            raise ValueError(
                f"{place} of model {model} depends on the other images of the batch, so that results would depend on "
                "batch_size; let no operation, such as a mean over axis 0, join the images of a batch"
            )


def _run_on(piece: Piece, graph: Graph, modules: Mapping[str, nn.Module], values: Mapping[fx.Node, Tensor]) -> Tensor:
    """The output of a piece with one model's parameters."""
    return piece.run(graph.modules, piece.state(modules), [values[node] for node in piece.inputs])


def _refusal(unit: str, model: int) -> str:
    return (
        f"unit {unit}: the traced graph does not reproduce the forward of model {model}, so calibration is refused; "
        "look for randomness, branches on the training mode, views that are changed in place, or (in a fleet) parts "
        "other than model 0's"
    )


def _close(ours: Tensor, expected: Tensor) -> bool:
    return ours.shape == expected.shape and torch.allclose(
        ours.double(), expected.double(), rtol=1e-4, atol=1e-4, equal_nan=True
    )


def _near(ours: Tensor, expected: Tensor) -> bool:
    """Equal but for rounding: libraries sum in another order in another batch, on a GPU perhaps in TF32."""
    precision = torch.finfo(expected.dtype).eps if expected.is_floating_point() else 0.0
    tolerance = max(1e-2 if expected.is_cuda else 1e-4, 8 * precision)
    ours, expected = ours.double().nan_to_num(), expected.double().nan_to_num()
    return bool(torch.dist(ours, expected) <= tolerance * expected.norm())


def _layer_inputs(net: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """What enters each layer in a plain forward, and, under the name "", what the network returns.

    Attention calls its projections as functions, so that these are seen in what follows them only.
    """
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], dict[str, Any]], None]:
        return lambda _, args, named: seen.__setitem__(name, next(iter((*args, *named.values()))).clone())

    modules = dict(net.named_modules())
    hooks = [
        modules[name].register_forward_pre_hook(note(name), with_kwargs=True) for name in layers if name in modules
    ]
    try:
        seen[""] = net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def check_range(unit: str, what: str, values: Tensor) -> None:
    """Refuse (models, ...) that are not finite, or whose squares may sum to infinity: methods compare squared errors.

    Half precision is held against float32, as squares that matter are taken in it.
    """
    low, high = values.flatten(1).aminmax(dim=1)  # (models,)
    largest = torch.maximum(-low, high).double()
    dtype = torch.promote_types(values.dtype, torch.float32)
    small = largest < (torch.finfo(dtype).max / values[0].numel()) ** 0.5  # (models,), False for NaN
    if small.all():
        return
    model = int((~small).nonzero()[0])
    if not largest[model].isfinite():
        raise ValueError(
            f"unit {unit}: {what} of model {model} are not finite; "
            "check the checkpoint and the calibration images for NaN or overflow"
        )
    raise ValueError(
        f"unit {unit}: {what} of model {model} reach {float(largest[model]):.1e}, whose squares overflow {dtype}; "
        "check the checkpoint and the scale of the images, or quantize the network after net.double()"
    )


def check_solution(problem: UnitProblem, solution: Mapping[str, Solution]) -> None:
    """A failed solve is an error, never a silent identity."""
    for name, layer in problem.layers.items():
        one = solution.get(name)
        if one is None or one.weight().shape != layer.weight.shape:
            got = "nothing" if one is None else list(one.weight().shape)
            raise ValueError(f"layer {name}: the method must return weights {list(layer.weight.shape)}; got {got}")
        if not one.is_valid(layer.weight, layer.levels):
            raise ValueError(
                f"layer {name}: the method failed; its codes leave the grid, its values leave float16 (65,504), or its "
                "weights are not finite"
            )


# ------------------------------------------------------------------------------------------------ memory


def check_memory(graph: Graph, n_entries: int, device: torch.device) -> None:
    """Refuse gram matrices for which there is no memory, before anything is solved, and say how large large ones are.

    Args:
        graph: of the networks.
        n_entries: models times precisions, which are solved together.
        device: on which they are solved.

    Raises:
        ValueError: naming the layer, the memory that it needs, and that which is free.
    """
    free = free_memory(device)
    for name in graph.layers.values():
        layer = graph.layer(name)
        n_columns = to_matrix(layer, layer.weight[None]).shape[2]
        needed = round(_GRAM_COPIES * 8 * n_columns**2 * n_groups(layer) * n_entries)
        size = f"layer {name} has {n_columns:,} columns, whose second moments need {needed / 2**30:.1f} GiB"
        if free is not None and needed > free:
            fewer = "fewer models or precisions at a time, " if n_entries > 1 else ""
            raise ValueError(
                f"{size} for {n_entries} models and precisions, and {free / 2**30:.1f} GiB are free on {device}; take "
                f"{fewer}a method that looks at no gram matrix, or leave it in float, "
                f'as with bits {{"*": 2, "{name}": 32}}'
            )
        if needed > _WORTH_SAYING:
            logger.info("%s", size)


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if Path("/proc/meminfo").exists():  # counts what caches would give back, as sysconf does not
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not Linux
        return None


# ------------------------------------------------------------------------------------------------ answers


def looks_like_softmax(answers: Tensor) -> bool:
    """Whether (examples, classes) are probabilities: none negative, and each row of sum 1.

    Losses and attacks take logits; a network that ends in a softmax trains slowly on them, and its confidences are
    rounded.

    >>> looks_like_softmax(torch.tensor([[0.25, 0.75]])), looks_like_softmax(torch.tensor([[-1.0, 2.0]]))
    (True, False)
    """
    if answers.ndim != 2 or answers.shape[1] < 2:
        return False
    sums = answers.double().sum(dim=1)
    return bool((answers >= 0).all() and torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-3))
