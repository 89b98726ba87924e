"""Statistics of the shadows that did (or did not) train on an example, with a target's own value taken out.

How a variance is computed. Everything is float64; a group is the n IN (or OUT) values of one example and query.

- Sums of squares are taken about a value amid the group (``_middle``), not about 0: (x - m)^2 summed, less n times the
  squared shift of the mean. About 0, confidences near 1e5 would lose ten of their sixteen digits to cancellation.
- A leave-one-out target's sum is the group's sum less the value that it must not see. Where that value is the extreme
  one, nearly all digits may cancel (1e18 - 1e18): there the rest is summed afresh.
- The residual variance is the mean square of the distances from the centre, over all examples. About a median c of
  values with mean m it is Q + n (c - m)^2 for a centred sum of squares Q: no second pass over the values.
- It divides by the number of values, not by the degrees of freedom, as the reference's deviation does (ddof 0).
- It is capped (:func:`capped_mean`): no example counts for more than a multiple of the mean.
- The pooled variance is that of all values together, and contains the spread between examples, which is often larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, reduce
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Centre: TypeAlias = Literal["median", "mean"]
Count: TypeAlias = int | NDArray[np.intp]  # one for all examples of a block, or (examples, 1)


def check_centre(centre: str) -> None:
    """Refuse a name that is not a centre's."""
    if centre not in get_args(Centre):
        raise ValueError(f"centre must be {' or '.join(get_args(Centre))}; got {centre!r}")


def mean_over_queries(values: Array) -> Array:
    """(..., queries) -> (...); adding whole planes is faster than NumPy's reduction of a short last axis."""
    total: Array = reduce(np.add, np.moveaxis(values, -1, 0))
    return np.asarray(total / values.shape[-1])


def capped_mean(squares: Array, counts: NDArray[np.intp], cap: float) -> tuple[Array, Array]:
    """Mean square of values, where no example's own mean square counts for more than ``cap`` times the mean.

    An example above the bound enters with the bound (Winsorizing), and the mean that sets the bound is the bounded one
    itself: Huber's M-estimator of a scale, with examples for observations. Bad examples, as many as a share of e, raise
    it by a factor of at most (1 - e) / (1 - cap * e), however bad they are. Below the bound it is the plain mean.

    Of few examples the cap is a quarter of their number, and at least 2, or one of them could still make up most of it.
    Examples whose values are all equal do not lower the bound: they may be most of a saturated network's.

    Args:
        squares: (targets, examples) sum of squares of each example's values.
        counts: (examples,) number of these values.
        cap: multiple of the mean, above 1; infinity for the plain mean.

    Returns:
        The mean, (targets,), and the bound on an example's mean square, (targets,), infinity where none exceeds it.

    Source: Huber, Robust Estimation of a Location Parameter, Ann. Math. Statist. 35 (1964), proposal 2.

    >>> capped_mean(np.array([[1.0] * 100]), np.ones(100, int), 25.0)
    (array([1.]), array([inf]))
    >>> mean, bound = capped_mean(np.array([[1.0] * 99 + [1e8]]), np.ones(100, int), 25.0)
    >>> mean.round(2), bound.round(2)
    (array([1.32]), array([33.]))
    """
    if np.isinf(cap):
        return squares.sum(axis=1) / counts.sum(), np.full(len(squares), np.inf)
    spread = counts * (squares > 0)  # (targets, examples)
    known = np.maximum(spread.sum(axis=1), 1)  # (targets,)
    caps = np.minimum(cap, np.maximum(np.count_nonzero(spread, axis=1) / 4, 2))
    over = np.zeros(squares.shape, bool)
    while True:  # each step can only lower the bound, so that the examples above it are ever more and this ends
        rest = known - caps * (counts * over).sum(axis=1)
        limit = caps * np.where(over, 0.0, squares).sum(axis=1) / rest
        found = over | (squares > limit[:, None] * counts)
        if (found == over).all():
            break
        over = found
    bound = np.where(over.any(axis=1), limit, np.inf)
    total = np.where(over, bound[:, None] * counts, squares) if over.any() else squares
    return total.sum(axis=1) / counts.sum(), bound


class Group:
    """The IN (or OUT) shadows of a block of examples, for every target at once.

    Leave-one-out targets share their shadows but for one value. So nothing is computed for each target that follows
    from taking one value out of a sorted column or out of a sum.

    Args:
        columns: (examples, queries, models) confidences of all shadows.
        keep: (examples, models), which of them make up the group.
        removed: (targets, examples, queries), the one of these values that each target must not see; None for held-out
            targets, which see all.
        size: (examples,), how many values that leaves to each target.
        population: variances of this group over all examples.
    """

    def __init__(
        self,
        columns: NDArray[np.floating[Any]],
        keep: NDArray[np.bool_],
        removed: Array | None,
        size: NDArray[np.intp],
        population: Population,
    ) -> None:
        self._columns = columns
        self._keep = keep
        self._removed = removed
        self._population = population
        least, most = int(size.min()), int(size.max())
        self.size: Count = most if least == most else size[:, None]
        self._count: Count = self.size + (removed is not None)

    @cached_property
    def _ordered(self) -> Array:
        """Each example's and query's values in ascending order, then +inf, (largest count, examples, queries)."""
        columns = np.where(self._keep[:, None], self._columns, np.inf)  # sorting all is cheaper than gathering some
        columns.sort(axis=-1)
        return np.ascontiguousarray(np.moveaxis(columns[..., : np.max(self._count)], -1, 0), np.float64)

    def _without_padding(self, values: Array) -> Array:
        """Zero in the place of what fills up the smaller groups, (largest count, examples, queries)."""
        if isinstance(self._count, int):
            return values
        return np.asarray(np.where(np.arange(len(values))[:, None, None] < self._count, values, 0.0))

    def _ranked(self, rank: Count) -> Array:
        """The value of this rank among all, (examples, queries)."""
        if isinstance(rank, int):
            return np.asarray(self._ordered[rank])
        return np.asarray(np.take_along_axis(self._ordered, rank[None], axis=0)[0])

    def _order_statistic(self, rank: Count) -> Array:
        """The value of this rank among those left, (targets or 1, examples, queries)."""
        value = self._ranked(rank)
        if self._removed is None:
            return value[None]
        left: Array = np.where(self._removed <= value, self._ranked(rank + 1), value)
        return left

    @cached_property
    def median(self) -> Array:
        """(targets or 1, examples, queries)."""
        low, high = (self.size - 1) // 2, self.size // 2
        if np.array_equal(low, high):
            return self._order_statistic(low)
        return np.asarray((self._order_statistic(low) + self._order_statistic(high)) / 2)

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        """Mean and sum of squares about it of the values left, each (targets or 1, examples, queries)."""
        origin = self._middle[..., 0]
        values = self._without_padding(self._ordered - origin)
        total, squares = _sums(values)
        if self._removed is not None:
            removed = self._removed - origin
            total, squares = total - removed, squares - removed * removed
            # Taking the extreme value out of a sum may cancel all digits: there the rest is summed afresh.
            for end, rest in ((-1, values[:-1]), (0, values[1:])):
                extreme = removed == values[end]
                for result, afresh in zip((total, squares), _sums(rest), strict=True):
                    np.copyto(result, afresh, where=extreme)
        mean = total / self.size
        return origin + mean, np.maximum(squares - total * mean, 0)

    @property
    def mean(self) -> Array:
        """(targets or 1, examples, queries)."""
        return self._moments[0]

    @property
    def squares(self) -> Array:
        """Sum of squares about the mean, (targets or 1, examples, queries)."""
        return self._moments[1]

    def centre(self, which: Centre) -> Array:
        """The median or the mean, (targets or 1, examples, queries)."""
        return self.median if which == "median" else self.mean

    def mean_of(self, increasing: Callable[[Array], Array]) -> Array:
        """Mean of an increasing, positive function of the values, (targets or 1, examples, queries)."""
        values = self._without_padding(increasing(self._ordered))
        total = values.sum(0)[None]
        if self._removed is not None:
            total = total - increasing(self._removed)
            np.copyto(total, values[:-1].sum(0), where=self._removed == self._ordered[-1])
        return np.asarray(total / self.size)

    def products(self, other: Group) -> Array:
        """Centred sum of products with the same shadows' values in another group, (targets or 1, examples, queries)."""
        own, others = (np.where(g._keep[:, None], g._columns - g._middle, 0) for g in (self, other))
        total = np.einsum("nqm,nqm->nq", own, others)[None]
        if self._removed is not None and other._removed is not None:
            total = total - (self._removed - self._middle[..., 0]) * (other._removed - other._middle[..., 0])
        shifts = (self.mean - self._middle[..., 0]) * (other.mean - other._middle[..., 0])
        return np.asarray(total - self.size * shifts)

    def residual_products(self, other: Group, centre: Centre, cap: float) -> Array:
        """Weighted sum over the block of products of both values' distances from their centres, (targets or 1,)."""
        shifts = (self.mean - self.centre(centre)) * (other.mean - other.centre(centre))
        products = (self.products(other) + self.size * shifts).sum(axis=2)  # (targets or 1, examples)
        weights = np.sqrt(self._weights(centre, cap) * other._weights(centre, cap))
        return np.asarray((weights * products).sum(axis=1))

    def _weights(self, centre: Centre, cap: float) -> Array:
        """By what each example's squares are multiplied in the capped residual variance, (targets or 1, examples)."""
        bound = self._population.bound(centre, cap)[:, None]
        if np.isinf(bound).all():
            return np.ones((1, 1))
        most = bound * np.reshape(self.size, -1) * self._columns.shape[1]
        squares = self.residual_squares(centre)
        return np.asarray(np.minimum(1, most / np.maximum(squares, np.finfo(float).tiny)))

    @property
    def _middle(self) -> Array:
        """A value amid the group's, (examples, queries, 1): differences from it keep their digits."""
        return self._ranked(self._count // 2)[..., None]

    @property
    def typical(self) -> float:
        """A value amid the block's."""
        return float(np.median(self._middle))

    @property
    def pooled(self) -> Array:
        """Variance of the values of all examples and queries, (targets or 1, 1, 1)."""
        return self._population.pooled

    def residual(self, centre: Centre, cap: float) -> Array:
        """Capped mean squared distance of the values from their example's centre, (targets or 1, 1, 1)."""
        return self._population.residual(centre, cap)

    def sums_about(self, origin: float) -> tuple[Array, Array]:
        """Sum and sum of squares of the differences from a value, over the block, each (targets or 1,)."""
        values = np.where(self._keep[:, None], np.subtract(self._columns, origin, dtype=np.float64), 0)
        squared = np.einsum("nqm,nqm->nq", values, values)
        total, squares = np.atleast_1d(values.sum()), np.atleast_1d(squared.sum())
        if self._removed is not None:
            removed = self._removed - origin
            total = total - removed.sum(axis=(1, 2))
            squares = squares - np.einsum("tnq,tnq->t", removed, removed)
        return total, squares

    def residual_squares(self, centre: Centre) -> Array:
        """Sum of squared distances from the centre, over queries, (targets or 1, examples)."""
        shift = self.centre(centre) - self.mean
        return np.asarray((self.squares + self.size * shift * shift).sum(axis=2))


def _sums(values: Array) -> tuple[Array, Array]:
    """Sum and sum of squares over shadows, each (1, examples, queries)."""
    return values.sum(0)[None], np.einsum("mnq,mnq->nq", values, values)[None]


class Population:
    """Variances of a group over all examples. Each takes a pass over the data, made when an attack first asks.

    Args:
        groups: makes the groups of all blocks of examples, one after the other.
        counts: (examples,) values of each example left to a target: shadows x queries.
    """

    def __init__(self, groups: Callable[[], Iterator[Group]], counts: NDArray[np.intp]) -> None:
        self._groups = groups
        self._counts = counts
        self._residual: dict[tuple[Centre, float], tuple[Array, Array]] = {}

    @cached_property
    def pooled(self) -> Array:
        """(targets or 1, 1, 1)."""
        origin = next(self._groups()).typical  # about 0, large confidences would leave no digits for their spread
        sums = (group.sums_about(origin) for group in self._groups())
        total, squares = (reduce(np.add, each) for each in zip(*sums, strict=True))
        count = self._counts.sum()
        mean = total / count
        return np.asarray(np.maximum(squares / count - mean * mean, 0))[:, None, None]

    def residual(self, centre: Centre, cap: float) -> Array:
        """(targets or 1, 1, 1)."""
        return self._capped(centre, cap)[0][:, None, None]

    def bound(self, centre: Centre, cap: float) -> Array:
        """The bound on an example's mean square, (targets or 1,)."""
        return self._capped(centre, cap)[1]

    def _capped(self, centre: Centre, cap: float) -> tuple[Array, Array]:
        if (centre, cap) not in self._residual:
            squares = np.concatenate([group.residual_squares(centre) for group in self._groups()], axis=1)
            self._residual[centre, cap] = capped_mean(squares, self._counts, cap)
        return self._residual[centre, cap]
