"""The indicator from snapshots of many runs, and LiRA on the same heads.

The algorithm is a reconstruction (docs/indicator.md): the competitors of a run's codeword are the other codewords that
its last snapshots round to, with the scale that the last of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from lit_privq.attacks.design import score_leave_one_out
from lit_privq.attacks.lira import LiRAOnline, Shrunk
from lit_privq.attacks.observed import Observed
from lit_privq.data.task import Classification
from lit_privq.indicator.codes import code_agreement, first_seen, flip_margin
from lit_privq.indicator.gaps import Gaps, loss_gaps
from lit_privq.indicator.heads import HeadData, HeadRecipe, Layers, head_losses, head_outputs, train_heads
from lit_privq.indicator.quantizers import FrozenMap, Quantizer
from lit_privq.indicator.runs import FULL_PRECISION, StoredRuns

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Competition:
    """The codewords of each run's snapshots on the reference set.

    Args:
        gaps: (runs, snapshots).
        distinct: (runs,) how many different codewords the snapshots show.
    """

    gaps: Gaps
    distinct: NDArray[np.int64]


def compete(snapshots: Sequence[Layers], quantizer: Quantizer | None, inputs: Tensor, targets: Tensor) -> Competition:
    """Quantize the last snapshots of every run with frozen scales, and measure their codewords against each other.

    Args:
        snapshots: the weights of all runs, one entry per snapshot, the final one last.
        quantizer: None for full precision, where each snapshot is its own codeword.
        inputs: (examples, features), a reference set that no run trained on.
        targets: (examples,).
    """
    maps = frozen_maps(snapshots[-1], quantizer)
    codes, losses = [], []
    for layers in snapshots:
        rounded = _codes(layers, maps)
        codes.append(_flat(rounded))
        losses.append(head_losses(head_outputs(_values(rounded, maps), inputs), targets).numpy())
    distinct = first_seen(np.stack(codes, axis=1))  # (runs, snapshots)
    return Competition(loss_gaps(np.stack(losses, axis=1), kept=distinct), distinct.sum(axis=1))


def frozen_maps(layers: Layers, quantizer: Quantizer | None) -> list[FrozenMap] | None:
    """A map per layer with scales chosen by these weights; None for full precision."""
    return None if quantizer is None else [quantizer.freeze(weight) for weight in layers]


def lira_advantage(outputs: Tensor, targets: Tensor, members: Bools) -> float:
    """How far LiRA gets: the largest TPR - FPR over all (model, example) pairs, each model attacked with all others.

    An estimate of 1 - MIS from below, for this attack. The confidence of a regression is its negative squared error.

    Args:
        outputs: (models, examples, outputs), of models that were all made alike.
        targets: (examples,), integers are classes.
        members: (models, examples).
    """
    regression = targets.is_floating_point()
    classes = outputs.shape[-1]
    confidence = -head_losses(outputs, targets) if regression else Classification(classes).confidence(outputs, targets)
    observed = Observed(confidence.numpy()[..., None], members)
    scores = score_leave_one_out({"lira": LiRAOnline(variance=Shrunk())}, observed)["lira"]
    return largest_difference(scores[members], scores[~members])


def largest_difference(inside: Array, outside: Array) -> float:
    """The largest difference between the true- and the false-positive rate over all thresholds, at least 0.

    >>> largest_difference(np.array([2.0, 3.0]), np.array([1.0, 2.5]))
    0.5
    """
    thresholds = np.unique(np.concatenate([inside, outside]))
    below = [np.searchsorted(np.sort(part), thresholds) / len(part) for part in (inside, outside)]
    return float((below[1] - below[0]).max(initial=0))


def performance(outputs: Tensor, targets: Tensor) -> tuple[str, Array]:
    """How well each model does: R squared of values, AUROC of two classes, accuracy of more.

    Args:
        outputs: (models, examples, outputs).
        targets: (examples,).

    Returns:
        The name of the metric, and (models,).
    """
    if targets.is_floating_point():
        residual = head_losses(outputs, targets).double().mean(dim=1)
        return "R2", (1 - residual / targets.double().var(correction=0)).numpy()
    if outputs.shape[2] > 2:
        return "accuracy", (outputs.argmax(dim=2) == targets).double().mean(dim=1).numpy()
    ranks = rankdata((outputs[..., 1] - outputs[..., 0]).numpy(), axis=1)  # (models, examples)
    positive = targets.numpy() == 1
    larger = ranks[:, positive].sum(axis=1) - positive.sum() * (positive.sum() + 1) / 2
    return "AUROC", np.asarray(larger / (positive.sum() * (~positive).sum()))


def run_experiment(
    name: str, task: HeadData, members: Bools, recipe: HeadRecipe, quantizers: Mapping[str, Quantizer]
) -> StoredRuns:
    """Train all runs, estimate every quantizer and full precision, and attack the same heads with LiRA.

    Args:
        name: of the experiment.
        task: the data; its test part is the reference set.
        members: (runs, examples), each example in half of the runs.
        recipe: how heads are trained.
        quantizers: by name.
    """
    snapshots = train_heads(task, members, recipe)
    rows = {
        key: _row(snapshots, quantizer, task, members)
        for key, quantizer in {**quantizers, FULL_PRECISION: None}.items()
    }
    final = head_outputs(snapshots[-1], task.inputs)  # (runs, examples, outputs)
    metric, _ = performance(head_outputs(snapshots[-1], task.test_inputs), task.test_targets)
    meta = {
        "n": int(members[0].sum()),
        "kind": "classification" if task.n_classes else "regression",
        "metric": metric,
        "head": "deep" if recipe.hidden else "linear",
        "weights": sum(layer[0].numel() for layer in snapshots[-1]),
    }
    stacked = {field: np.stack([row[field] for row in rows.values()]) for field in rows[FULL_PRECISION]}
    train_score = _train_score(final, task.targets, members)
    return StoredRuns(name=name, quantizers=tuple(rows), train_score=train_score, meta=meta, **stacked)


def _row(snapshots: Sequence[Layers], quantizer: Quantizer | None, task: HeadData, members: Bools) -> dict[str, Any]:
    """What is stored of one quantizer."""
    competition = compete(snapshots, quantizer, task.test_inputs, task.test_targets)
    gaps, final = competition.gaps, snapshots[-1]
    own, public = frozen_maps(final, quantizer), frozen_maps(_average(final), quantizer)
    own_layers, public_layers = (_values(_codes(final, maps), maps) for maps in (own, public))
    return {
        "best": gaps.best,
        "gap_mean": gaps.mean,
        "gap_variance": gaps.variance,
        "gap_reach": gaps.reach,
        "distinct": competition.distinct,
        "agreement": code_agreement(_flat(_codes(final, own))),
        "flip_margin": -np.inf if own is None else _flip_margin(final, own, int(members[0].sum())),
        "advantage": lira_advantage(head_outputs(own_layers, task.inputs), task.targets, members),
        "advantage_public": lira_advantage(head_outputs(public_layers, task.inputs), task.targets, members),
        "performance": performance(head_outputs(own_layers, task.test_inputs), task.test_targets)[1],
    }


def _average(layers: Layers) -> Layers:
    """Mean weights over all runs, repeated for each run: the public scale is chosen on them."""
    return tuple(weight.mean(dim=0, keepdim=True).expand_as(weight).contiguous() for weight in layers)


def _codes(layers: Layers, maps: list[FrozenMap] | None) -> Layers:
    """The codes of every layer; the weights themselves in full precision."""
    return layers if maps is None else tuple(m.codes(weight) for m, weight in zip(maps, layers, strict=True))


def _values(codes: Layers, maps: list[FrozenMap] | None) -> Layers:
    """The weights that codes stand for."""
    return codes if maps is None else tuple(m.weights(code) for m, code in zip(maps, codes, strict=True))


def _flat(layers: Layers) -> NDArray[Any]:
    """All layers side by side, (runs, weights)."""
    return torch.cat([layer.flatten(1) for layer in layers], dim=1).numpy()


def _flip_margin(layers: Layers, maps: Sequence[FrozenMap], n: int) -> float:
    positions = _flat(tuple(m.positions(weight) for m, weight in zip(maps, layers, strict=True)))
    return flip_margin(positions.astype(np.float64), maps[0].levels, n)


def _train_score(outputs: Tensor, targets: Tensor, members: Bools) -> Array:
    """Accuracy, or R squared, on each model's own members, (models,)."""
    own = torch.from_numpy(members).double()
    if targets.is_floating_point():
        return (1 - (head_losses(outputs, targets) * own).sum(dim=1) / own.sum(dim=1)).numpy()
    return (((outputs.argmax(dim=2) == targets) * own).sum(dim=1) / own.sum(dim=1)).numpy()
