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

SUBSET_SIZES = (10, 20, 50, 100)
"""Numbers of runs with which LiRA is tried again, to see how many it needs."""

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


def confidence(outputs: Tensor, targets: Tensor) -> Array:
    """Log-odds of the true class, or the negative squared error of a regression, (models, examples).

    Args:
        outputs: (models, examples, outputs).
        targets: (examples,), integers are classes.
    """
    if targets.is_floating_point():
        return -head_losses(outputs, targets).numpy()
    return Classification(outputs.shape[-1]).confidence(outputs, targets).numpy()


def lira_advantage(confidence: Array, members: Bools) -> float:
    """How far LiRA gets: the largest TPR - FPR over all (model, example) pairs, each model attacked with all others.

    An estimate of 1 - MIS from below, for this attack.

    Args:
        confidence: (models, examples), of models that were all made alike.
        members: (models, examples).
    """
    observed = Observed(confidence[..., None], members)
    scores = score_leave_one_out({"lira": LiRAOnline(variance=Shrunk())}, observed)["lira"]
    return largest_difference(scores[members], scores[~members])


def advantages_of_subsets(confidence: Array, members: Bools, n_subsets: int, seed: int = 0) -> Array:
    """What LiRA gets with fewer runs: `lira_advantage` of random subsets of the models.

    Examples that fewer than three models of a subset trained on, or did not train on, are left out of that subset:
    LiRA on one of its models needs two others of each kind.

    Args:
        confidence: (models, examples).
        members: (models, examples).
        n_subsets: subsets per size; the same for every quantizer of an experiment, which compares rankings.
        seed: of the subsets.

    Returns:
        (sizes, subsets), a row for each of `SUBSET_SIZES` below the number of models.
    """
    rng = np.random.default_rng(seed)
    sizes = [size for size in SUBSET_SIZES if size < len(members)]
    found = np.empty((len(sizes), n_subsets))
    for row, subset in np.ndindex(*found.shape):
        chosen = rng.permutation(len(members))[: sizes[row]]
        trained = members[chosen].sum(axis=0)  # (examples,)
        attackable = np.flatnonzero((trained >= 3) & (trained <= sizes[row] - 3))
        part = np.ix_(chosen, attackable)
        found[row, subset] = lira_advantage(confidence[part], members[part])
    return found


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
    name: str,
    task: HeadData,
    members: Bools,
    recipe: HeadRecipe,
    quantizers: Mapping[str, Quantizer],
    attacked_subsets: int = 0,
) -> StoredRuns:
    """Train all runs, estimate every quantizer and full precision, and attack the same heads with LiRA.

    Args:
        name: of the experiment.
        task: the data; its test part is the reference set.
        members: (runs, examples), each example in half of the runs.
        recipe: how heads are trained.
        quantizers: by name.
        attacked_subsets: see `advantages_of_subsets`.
    """
    snapshots = train_heads(task, members, recipe)
    rows = {
        key: _row(snapshots, quantizer, task, members, attacked_subsets)
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


def _row(
    snapshots: Sequence[Layers], quantizer: Quantizer | None, task: HeadData, members: Bools, attacked_subsets: int
) -> dict[str, Any]:
    """What is stored of one quantizer."""
    competition = compete(snapshots, quantizer, task.test_inputs, task.test_targets)
    gaps, final = competition.gaps, snapshots[-1]
    own, public = frozen_maps(final, quantizer), frozen_maps(_average(final), quantizer)
    own_layers, public_layers = (_values(_codes(final, maps), maps) for maps in (own, public))
    attacked, attacked_public = (
        confidence(head_outputs(layers, task.inputs), task.targets) for layers in (own_layers, public_layers)
    )
    return {
        "best": gaps.best,
        "gap_mean": gaps.mean,
        "gap_variance": gaps.variance,
        "gap_reach": gaps.reach,
        "distinct": competition.distinct,
        "agreement": code_agreement(_flat(_codes(final, own))),
        "flip_margin": -np.inf if own is None else _flip_margin(final, own, int(members[0].sum())),
        "advantage": lira_advantage(attacked, members),
        "advantage_public": lira_advantage(attacked_public, members),
        "advantage_of_subsets": advantages_of_subsets(attacked, members, attacked_subsets),
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
