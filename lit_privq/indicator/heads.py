"""Many small heads on the same frozen features, trained as one batched problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lit_privq.data.membership import equal_batches

Layers = tuple[Tensor, ...]
"""The weights of every head, a tensor (models, rows, columns) per layer, with a ReLU between layers."""


@dataclass(frozen=True)
class HeadData:
    """Features that are trained on, and others that are not.

    Args:
        inputs: (examples, features), the pool; a constant feature takes the place of a bias.
        targets: (examples,) int64 classes, or float32 values with mean 0 and variance 1.
        test_inputs: (test examples, features).
        test_targets: (test examples,).
        n_classes: 0 for a regression.
    """

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    n_classes: int

    @property
    def n_outputs(self) -> int:
        """Outputs of a head."""
        return self.n_classes or 1


@dataclass(frozen=True)
class HeadRecipe:
    """How heads are trained: plain SGD at a constant rate, so that the last weights keep fluctuating.

    Args:
        hidden: width of the hidden layer; 0 for a linear head.
        epochs: passes over the members.
        batch_size: the largest batch.
        learning_rate: constant.
        momentum: of SGD.
        weight_decay: on all weights.
        snapshots: T, how many of the last weights are kept.
        spacing: optimizer steps from one snapshot to the next; 0 for an epoch.
        seed: of initial weights and of the order of examples; each head has its own stream.
    """

    hidden: int = 0
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0
    snapshots: int = 50
    spacing: int = 1
    seed: int = 0


def head_outputs(layers: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Run every head.

    Args:
        layers: (models, rows, columns) each.
        inputs: (examples, features) for all, or (models, examples, features).

    Returns:
        (models, examples, outputs).

    >>> head_outputs([torch.ones(3, 2, 4)], torch.ones(5, 4)).shape
    torch.Size([3, 5, 2])
    """
    first, *rest = layers
    if inputs.dim() == 2:  # one matrix product for all heads
        together = functional.linear(inputs, first.flatten(0, 1))  # (examples, models * rows)
        hidden = together.view(len(inputs), *first.shape[:2]).movedim(1, 0)
    else:
        hidden = inputs @ first.mT  # (models, examples, rows)
    for weight in rest:
        hidden = hidden.relu() @ weight.mT
    return hidden


def head_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of classes, squared error of values; (models, examples, outputs) -> (models, examples).

    Args:
        outputs: of the heads.
        targets: (examples,) or (models, examples); integers are classes.
    """
    targets = targets.expand(outputs.shape[:2])
    if targets.is_floating_point():
        return (outputs[..., 0] - targets).square()
    return functional.cross_entropy(outputs.movedim(-1, 1), targets, reduction="none")


def train_heads(task: HeadData, members: NDArray[np.bool_], recipe: HeadRecipe) -> list[Layers]:
    """Train a head on each row of members, all of them in every step.

    Args:
        task: the data.
        members: (models, examples) bool, equally many in every row.
        recipe: how.

    Returns:
        The last ``recipe.snapshots`` weights, the final one last.

    Raises:
        ValueError: if the rows of members are not equally long, training is too short for the snapshots, or diverges.
    """
    sizes = members.sum(axis=1)
    if sizes.min() != sizes.max():
        raise ValueError(f"every head must train on equally many examples; got {sizes.min()} to {sizes.max()}")
    own = torch.from_numpy(np.nonzero(members)[1].reshape(len(members), -1))  # (models, members)
    generators = [torch.Generator().manual_seed(1_000_003 * recipe.seed + model) for model in range(len(members))]
    layers = _initial(task, recipe, generators)
    optimizer = torch.optim.SGD(
        layers, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    batches = list(equal_batches(own.shape[1], recipe.batch_size, -(-own.shape[1] // recipe.batch_size)))
    spacing = recipe.spacing or len(batches)
    left = recipe.epochs * len(batches)  # steps
    if not 0 < recipe.snapshots * spacing <= left:
        raise ValueError(
            f"{recipe.snapshots} snapshots need {recipe.snapshots * spacing} steps; got {left}, add epochs"
        )
    kept: list[Layers] = []
    for _ in range(recipe.epochs):
        order = torch.stack([torch.randperm(own.shape[1], generator=generator) for generator in generators])
        for picks in torch.split(own.gather(1, order), batches, dim=1):  # (models, batch)
            optimizer.zero_grad()
            losses = head_losses(head_outputs(layers, task.inputs[picks]), task.targets[picks])
            losses.mean(dim=1).sum().backward()
            optimizer.step()
            left -= 1
            if left % spacing == 0 and left < recipe.snapshots * spacing:
                kept.append(tuple(layer.detach().clone() for layer in layers))
    if not all(layer.isfinite().all() for layer in kept[-1]):
        raise ValueError(f"training diverged; lower learning_rate, now {recipe.learning_rate:g}")
    return kept


def _initial(task: HeadData, recipe: HeadRecipe, generators: Sequence[torch.Generator]) -> Layers:
    """Every head's own normal weights, of variance 1 / columns (2 / columns before a ReLU)."""
    widths = [task.inputs.shape[1], *([recipe.hidden] if recipe.hidden else []), task.n_outputs]
    layers = []
    for depth, (columns, rows) in enumerate(pairwise(widths)):
        deviation = ((2 if depth < len(widths) - 2 else 1) / columns) ** 0.5
        drawn = torch.stack([torch.randn(rows, columns, generator=generator) for generator in generators])
        layers.append((drawn * deviation).requires_grad_())
    return tuple(layers)
