"""The indicator of a trained network: its last weights, rounded layer by layer with the scales of the very last.

A codeword is the codes of all convolutions and linear layers. Everything else (biases, batch norm) stays as training
left it, so that equal codes are the same network and the codebook is finite, as the theory requires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from lit_privq.data.task import Regression, Task
from lit_privq.indicator.gaps import loss_gaps
from lit_privq.indicator.quantizers import FrozenMap, Quantizer
from lit_privq.indicator.runs import FULL_PRECISION
from lit_privq.indicator.shadows import ShadowRuns
from lit_privq.quantization.layers import Layer, n_groups, to_matrix, to_weight

Weights = Mapping[str, Tensor]
"""Weights of a network's convolutions and linear layers, by the layer's name."""

N_CODES = 100_000
"""Weights whose codes are kept: enough to know the code agreement to a third of a percent."""

_BATCH = 256


@dataclass(frozen=True)
class Examples:
    """Examples as a network takes them.

    Args:
        inputs: (examples, ...).
        labels: (examples,).
        task: what the labels are.
    """

    inputs: Tensor
    labels: Tensor
    task: Task


@dataclass(frozen=True)
class Codebook:
    """A quantizer frozen at the last weights of one network.

    Args:
        bits: its precision.
        maps: by the layer's name.
    """

    bits: float
    maps: Mapping[str, FrozenMap]


def layers_of(net: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers of a network, by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}


@torch.no_grad()
def codebooks(
    net: nn.Module, finals: Sequence[Weights], quantizers: Mapping[str, Quantizer]
) -> list[dict[str, Codebook]]:
    """Freeze every quantizer at the last weights of every model, with a scale per output channel where it has one.

    All models at once: a search for a scale takes hundreds of small steps, as many for one model as for ten.

    Args:
        net: any network of the models' architecture.
        finals: the last weights of each model.
        quantizers: by name.

    Returns:
        A codebook for each quantizer, of each model.
    """
    layers = layers_of(net)
    stacked = {name: torch.stack([weights[name] for weights in finals]) for name in layers}  # (models, ...)
    books: list[dict[str, Codebook]] = [{} for _ in finals]
    for key, quantizer in quantizers.items():
        maps = {name: quantizer.freeze(to_matrix(layer, stacked[name])) for name, layer in layers.items()}
        for model, book in enumerate(books):
            own = {name: _of_model(maps[name], model, n_groups(layer)) for name, layer in layers.items()}
            book[key] = Codebook(quantizer.bits, own)
    return books


@torch.no_grad()
def network_runs(
    net: nn.Module,
    snapshots: Sequence[Weights],
    books: Mapping[str, Codebook],
    reference: Examples,
    members: Examples,
    model: int,
    meta: Mapping[str, Any],
) -> ShadowRuns:
    """Estimate every codebook, and full precision, on one network.

    Args:
        net: as training left it, in evaluation mode.
        snapshots: its last weights, the final ones last.
        books: of `codebooks`.
        reference: examples that it was not trained on.
        members: examples that it was trained on, which tell whether it interpolates.
        model: its index in the study.
        meta: what `ShadowRuns` asks for and cannot be seen here: ``n``, ``data``, ``net``, ``every``.
    """
    assert not net.training, "the indicator is measured in evaluation mode"
    rows, codes = zip(*(_row(net, snapshots, book, reference) for book in (*books.values(), None)), strict=True)
    stacked = {key: np.stack([row[key] for row in rows])[:, None] for key in rows[-1]}  # (quantizers, 1, ...)
    _, train_score = _measure(net, snapshots[-1], members)
    return ShadowRuns(
        quantizers=(*books, FULL_PRECISION),
        bits=np.array([*(float(book.bits) for book in books.values()), 32.0]),
        codes=np.stack([_sample(one) for one in codes[:-1]])[:, None],  # (quantizers - 1, 1, weights)
        models=np.array([model]),
        train_score=np.array([train_score]),
        meta={**meta, **_described(net, reference)},
        **stacked,
    )


def _described(net: nn.Module, reference: Examples) -> dict[str, Any]:
    """Metadata that follow from the network and its reference set."""
    task = reference.task
    return {
        "kind": "regression" if isinstance(task, Regression) else "classification",
        "metric": task.metric,
        "weights": sum(layer.weight.numel() for layer in layers_of(net).values()),
        "examples": len(reference.labels),
    }


def _row(
    net: nn.Module, snapshots: Sequence[Weights], book: Codebook | None, reference: Examples
) -> tuple[dict[str, Any], Weights]:
    """What is stored of one quantizer, and the final codes; None is full precision, where snapshots are codewords."""
    layers, maps = layers_of(net), book.maps if book else None
    losses = np.zeros((len(snapshots), len(reference.labels)))
    found: dict[bytes, tuple[int, float]] = {}  # which snapshot showed a codeword first, and its accuracy
    for number, weights in enumerate(snapshots):
        codes = _codes(layers, weights, maps)
        key = _digest(codes)
        if key not in found:
            losses[number], accuracy = _measure(net, _values(layers, codes, maps), reference)
            found[key] = number, accuracy
    fresh = np.isin(np.arange(len(snapshots)), [number for number, _ in found.values()])  # (snapshots,)
    gaps = loss_gaps(losses, kept=fresh)
    row = {
        "best": gaps.best,
        "gap_mean": gaps.mean,
        "gap_variance": gaps.variance,
        "gap_reach": gaps.reach,
        "distinct": len(found),
        "performance": found[key][1],  # of the last
    }
    return row, codes


def _of_model(frozen: FrozenMap, model: int, groups: int) -> FrozenMap:
    """One model's part of a map of all; the groups of a convolution are models too."""
    own = slice(model * groups, (model + 1) * groups)
    return FrozenMap(frozen.step[own], frozen.scale[own], frozen.zero[own], frozen.levels)


def _codes(layers: Mapping[str, Layer], weights: Weights, maps: Mapping[str, FrozenMap] | None) -> Weights:
    """Integer codes of every layer, (groups, rows, columns); the weights themselves in full precision."""
    matrices = {name: to_matrix(layer, weights[name][None]) for name, layer in layers.items()}
    return matrices if maps is None else {name: maps[name].codes(matrix) for name, matrix in matrices.items()}


def _values(layers: Mapping[str, Layer], codes: Weights, maps: Mapping[str, FrozenMap] | None) -> Weights:
    """The layers' weights that codes stand for, in their own shapes."""
    matrices = codes if maps is None else {name: maps[name].weights(code) for name, code in codes.items()}
    return {name: to_weight(layers[name], matrix)[0] for name, matrix in matrices.items()}


def _digest(codes: Weights) -> bytes:
    """Digest of the codes, in place of the codes themselves, which would fill the memory with large networks."""
    digest = hashlib.blake2b(digest_size=16)
    for code in codes.values():
        digest.update(np.ascontiguousarray((code + 0.0).cpu().numpy()).data)  # -0.0 is 0.0
    return digest.digest()


def _measure(net: nn.Module, weights: Weights, examples: Examples) -> tuple[NDArray[np.float64], float]:
    """Losses (examples,) and mean utility (accuracy, or R squared) of the network with other weights."""
    named = {f"{name}.weight": weight for name, weight in weights.items()}
    answers = torch.cat([functional_call(net, named, (batch,)) for batch in examples.inputs.split(_BATCH)])
    losses = examples.task.losses(answers, examples.labels)  # (examples,)
    return losses.double().cpu().numpy(), examples.task.utility(answers, examples.labels).double().mean().item()


def _sample(codes: Weights) -> NDArray[Any]:
    """Codes side by side, (weights,), or `N_CODES` of them that are drawn alike for every network of this size."""
    flat = torch.cat([code.flatten() for code in codes.values()]).cpu().numpy()  # (weights,)
    if len(flat) > N_CODES:
        flat = flat[np.sort(np.random.default_rng(0).choice(len(flat), N_CODES, replace=False))]
    return flat.astype(np.uint16)
