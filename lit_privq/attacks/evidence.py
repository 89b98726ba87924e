"""Evidence of an attack: confidences of the targets, and of the shadows that did and did not train on each example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.attacks.group import Array, Centre, Group, Population
from lit_privq.attacks.observed import Observed

_BLOCK_VALUES = 1 << 16  # targets x examples x queries a block: its arrays stay in the second-level cache


@dataclass(frozen=True, eq=False)
class Trial:
    """Targets, the shadows they are attacked with, and which shadow is the target itself.

    Where a target is itself a shadow, group sizes are the same for all examples: with the target hidden, the number of
    shadows left in a group would tell whether it trained on the example.

    Args:
        shadows: M models.
        targets: T models on the same examples; None: they are the shadows of ``own``.
        own: (targets,) each target's row among the shadows, hidden from it; None for held-out targets.
        inside, outside: (examples,) shadows that each target sees in an example's two groups; the same number for all
            examples unless targets are held out.
        versions: the same trial on other versions of the same models, for the joint attack.
    """

    shadows: Observed
    targets: Observed | None
    own: NDArray[np.intp] | None
    inside: NDArray[np.intp]
    outside: NDArray[np.intp]
    versions: tuple[Trial, ...] = ()
    _populations: dict[tuple[bool, float], Population] = field(default_factory=dict, repr=False)
    _covariances: dict[tuple[int, int, bool, Centre, float], Array] = field(default_factory=dict, repr=False)
    _chosen: dict[bool, tuple[NDArray[np.bool_], NDArray[np.intp]]] = field(default_factory=dict, repr=False)

    @property
    def examples(self) -> int:
        """Examples of the pool."""
        return int(self.shadows.members.shape[1])

    def blocks(self, step: int | None = None) -> Iterator[Evidence]:
        """Evidence on all examples, a block after the other."""
        if step is None:
            rows = len(self.shadows.members) if self.own is None else max(len(self.own), 32)
            step = max(16, _BLOCK_VALUES // (rows * self.shadows.queries))
        for start in range(0, self.examples, step):
            yield Evidence(self, slice(start, min(start + step, self.examples)))

    def size(self, inside: bool) -> NDArray[np.intp]:
        """Shadows that each target sees in the IN or the OUT group, (examples,)."""
        return self.inside if inside else self.outside

    def values(self, inside: bool) -> NDArray[np.intp]:
        """Values of each example's IN or OUT group for a target: shadows x queries, (examples,)."""
        return self.size(inside) * self.shadows.queries

    def chosen(self, inside: bool) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Shadows of the IN or the OUT group, (models, examples), and the one that targets outside do without."""
        if inside not in self._chosen:
            count = self.size(inside) + (self.own is not None)
            self._chosen[inside] = _first(self.shadows.members == inside, count)
        return self._chosen[inside]

    def population(self, inside: bool, temperature: float) -> Population:
        """Variances over all examples of the IN or the OUT groups."""
        key = (inside, temperature)
        if key not in self._populations:

            def groups() -> Iterator[Group]:
                return (block.at(temperature).group(inside) for block in self.blocks())

            self._populations[key] = Population(groups, self.values(inside))
        return self._populations[key]

    def residual_covariance(self, one: int, other: int, inside: bool, centre: Centre, cap: float) -> Array:
        """Mean product of two versions' distances from their centres, (targets or 1, 1, 1); 0 are these models.

        Each example enters with the geometric mean of the weights that it has in the two capped variances: by Cauchy
        and Schwarz, covariance and variances then still are those of some pair of variables.
        """
        key = one, other, inside, centre, cap
        if key not in self._covariances:
            versions = (block.versions for block in self.blocks())
            pairs = ((each[one].group(inside), each[other].group(inside)) for each in versions)
            total = reduce(np.add, (group.residual_products(above, centre, cap) for group, above in pairs))
            self._covariances[key] = total[:, None, None] / self.values(inside).sum()
        return self._covariances[key]

    @cached_property
    def alignment(self) -> tuple[Array, Array, Array]:
        """Median of each target, factor, and median of its shadows, each (targets, 1, queries).

        The factor is how often the target's interquartile range goes into that of its shadows; 1 where it has none. Of
        shadows the mean over models is meant, of a target that is itself one that over the others.
        """
        own, shadows = self.own, self.shadows.scale
        if own is None:
            level, spread = (each.mean(axis=0, keepdims=True) for each in shadows)
        else:
            level, spread = ((each.sum(axis=0) - each[own]) / (len(each) - 1) for each in shadows)
        median, own_spread = (each[own] for each in shadows) if self.targets is None else self.targets.scale
        factor = np.divide(spread, own_spread, out=np.ones_like(own_spread), where=own_spread > 0)
        return median[:, None], factor[:, None], level[:, None]

    @cached_property
    def class_sums(self) -> ClassSums:
        """Sums over the members of each shadow, class by class.

        Raises:
            ValueError: if the classes of the examples are not known.
        """
        labels = self.shadows.labels
        if labels is None or self.shadows.values:
            raise ValueError("class proxies need the classes of the examples; give labels, or leave the attack out")
        names, index = np.unique(labels, return_inverse=True)
        one_hot = np.eye(len(names))[index]  # (examples, classes)
        count: Array = self.shadows.members @ one_hot
        total, squares = (np.zeros((*count.shape, self.shadows.queries)) for _ in range(2))
        for block in self.blocks():
            values = block.member_values.swapaxes(1, 2)  # (models, queries, block)
            for sums, powers in ((total, values), (squares, values * values)):
                sums += (powers @ one_hot[block.rows]).swapaxes(1, 2)
        return ClassSums(index, count, total, squares)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """What the training sets of the shadows hold of each class.

    Args:
        index: (examples,) number of each example's class.
        count: (models, classes) members.
        total: (models, classes, queries) sum of their confidences.
        squares: (models, classes, queries) sum of the squares.
    """

    index: NDArray[np.intp]
    count: Array
    total: Array
    squares: Array


@dataclass(frozen=True, eq=False)
class Evidence:
    """A block of examples: confidences of the ``targets``, and the groups of shadows ``inside`` and ``outside``."""

    trial: Trial
    rows: slice
    temperature: float = 1.0

    @cached_property
    def _shadows(self) -> NDArray[np.floating[Any]]:
        return self.trial.shadows.block(self.rows, self.temperature)

    @cached_property
    def _columns(self) -> NDArray[np.floating[Any]]:
        """The shadows' confidences with models last, (examples, queries, models)."""
        return np.ascontiguousarray(np.moveaxis(self._shadows, 0, -1))

    @cached_property
    def _own(self) -> Array:
        """Confidences of each target's own shadow, (targets, examples, queries)."""
        return self._shadows[self.trial.own].astype(np.float64)

    @cached_property
    def targets(self) -> Array:
        """Confidences of the targets, (targets, examples, queries)."""
        if self.trial.targets is None:
            return self._own
        return self.trial.targets.block(self.rows, self.temperature).astype(np.float64)

    @cached_property
    def aligned(self) -> Array:
        """Confidences of the targets, each with the median and interquartile range over all examples of its shadows.

        Raises:
            ValueError: at another temperature than 1.
        """
        if self.temperature != 1:
            raise ValueError(f"confidences are aligned at temperature 1; got {self.temperature}")
        median, factor, level = self.trial.alignment
        return factor * (self.targets - median) + level

    @cached_property
    def inside(self) -> Group:
        """The shadows that trained on the example."""
        return self.group(True)

    @cached_property
    def outside(self) -> Group:
        """The shadows that did not."""
        return self.group(False)

    @cached_property
    def versions(self) -> tuple[Evidence, ...]:
        """The block itself, and the same of every other version of these models."""
        return self, *(Evidence(trial, self.rows, self.temperature) for trial in self.trial.versions)

    @cached_property
    def member_values(self) -> Array:
        """Confidences of the shadows that trained on an example, 0 for the others, (models, examples, queries)."""
        return np.where(self.trial.shadows.members[:, self.rows, None], self._shadows.astype(np.float64), 0.0)

    @cached_property
    def proxies(self) -> tuple[Array, Array]:
        """Mean and variance of the members of each example's class, but for itself, (targets or 1, examples, queries).

        A target that is itself a shadow is left out as a whole, so that its own training set has no part in them.

        Raises:
            ValueError: if a class has no other member in any training set, or the classes are not known.
        """
        sums, own = self.trial.class_sums, self.trial.own
        index, here = sums.index[self.rows], self.trial.shadows.members[:, self.rows]
        values = self.member_values
        parts = []
        for of_class, of_example in (
            (sums.count[..., None], here[..., None].astype(np.float64)),
            (sums.total, values),
            (sums.squares, values * values),
        ):
            left = (of_class.sum(0)[None], of_example.sum(0)[None])
            if own is not None:
                left = (left[0] - of_class[own], left[1] - of_example[own])
            parts.append(left[0][:, index] - left[1])
        count, total, squares = parts
        if (count < 2).any():
            lonely = int(np.flatnonzero((count < 2).any(axis=(0, 2)))[0]) + self.rows.start
            raise ValueError(
                f"class proxies need other members of an example's class; example {lonely} is alone in its class, "
                "leave it or the attack out"
            )
        mean = total / count
        return mean, np.maximum(squares / count - mean * mean, np.finfo(float).tiny)

    @property
    def has_logits(self) -> bool:
        """Whether other temperatures than 1 can be had."""
        return self.trial.shadows.logits is not None

    def at(self, temperature: float) -> Evidence:
        """The same block with all logits divided by a temperature."""
        return self if temperature == self.temperature else Evidence(self.trial, self.rows, temperature)

    def group(self, inside: bool) -> Group:
        """The IN or the OUT group, cut in model order to the trial's size.

        Leave-one-out targets share the group's values but for one: their own where they are in it, and the last one's
        otherwise, so that every target sees equally many.
        """
        own, size = self.trial.own, self.trial.size(inside)[self.rows]
        chosen, spares = self.trial.chosen(inside)
        keep, last = chosen[:, self.rows], spares[self.rows]  # (models, examples), (examples,)
        removed = None
        if own is not None:
            spare = self._shadows[last, np.arange(len(last))]  # (examples, queries)
            removed = np.where(keep[own][..., None], self._own, spare.astype(np.float64))
        return Group(self._columns, keep.T, removed, size, self.trial.population(inside, self.temperature))


def _first(member: NDArray[np.bool_], count: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """The first models of each column, as many as ``count``, and the last of them, which targets outside do without.

    A column that is one short is filled up with any other model. That one is then its last: no target of the trial is a
    member there, so every target does without it.
    """
    keep = np.empty_like(member)
    seen = np.zeros_like(count)
    last = np.zeros(member.shape[1], np.intp)
    for model, row in enumerate(member):
        np.logical_and(row, seen < count, out=keep[model])
        seen += keep[model]
        last[keep[model]] = model
    short = np.flatnonzero(seen < count)
    last[short] = keep[:, short].argmin(axis=0)
    keep[last[short], short] = True
    return keep, last
