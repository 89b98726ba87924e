"""The affine grid of a channel, w_hat = scale * (codes - zero): how it is chosen, rounded to, and refitted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from lit_privq.quantization.method import check_options
from lit_privq.quantization.solution import Quantized, round_to_grid

Affine = tuple[Tensor, Tensor]
"""Scale and zero of a grid, both (models, rows, 1)."""


class Grid(ABC):
    """How every channel's scale and zero are chosen: a frozen dataclass whose fields are its options."""

    @property
    @abstractmethod
    def by_output(self) -> bool:
        """Whether candidates are compared by the layer's output error, through its gram matrix."""

    @abstractmethod
    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """Choose the grids of (models, rows, columns) weights at (models,) levels."""


def quantize_to(weight: Tensor, affine: Affine, levels: Tensor) -> Quantized:
    """Round (models, rows, columns) weights to the nearest points of a grid."""
    scale, zero = affine
    return Quantized(round_to_grid(weight, scale, zero, levels), scale, zero, levels)


def output_error(difference: Tensor, gram: Tensor | None = None) -> Tensor:
    """Squared output error e H e^T of every channel.

    Args:
        difference: (models, rows, columns), e: wanted minus quantized weight.
        gram: (models, columns, columns), H; the identity where None, which gives the weight error.

    Returns:
        (models, rows, 1).
    """
    image = difference if gram is None else difference @ gram  # (models, rows, columns)
    return (image * difference).sum(dim=2, keepdim=True)


def refit(quantized: Quantized, target: Tensor, gram: Tensor | None = None, offset: bool = True) -> Quantized:
    """The same codes with the scale (and zero) of least output error, in closed form.

    Least squares of the target on the codes (and on a constant) in the metric of the gram matrix. A channel whose
    codes do not determine a positive scale keeps the grid it has.

    Args:
        quantized: codes and the grid they were chosen on.
        target: (models, rows, columns), the weights to approach.
        gram: (models, columns, columns), or None for the weight error.
        offset: whether the zero is refitted too; it then need not be an integer.

    >>> codes, one = torch.tensor([[[0.0, 1.0, 2.0]]]), torch.ones(1, 1, 1)
    >>> refitted = refit(Quantized(codes, one, one, torch.tensor([3])), torch.tensor([[[-2.0, 1.0, 4.0]]]))
    >>> refitted.weight().round(decimals=4).tolist()
    [[[-2.0, 1.0, 4.0]]]
    """
    ones = torch.ones_like(target[:, :1])  # (models, 1, columns)
    basis = quantized.codes - quantized.zero
    if offset:  # least squares on a constant and a slope
        ones_image = ones if gram is None else ones @ gram
        total = (ones_image * ones).sum(dim=2, keepdim=True).clamp_min(torch.finfo(target.dtype).tiny)
        basis_mean, target_mean = ((x * ones_image).sum(2, keepdim=True) / total for x in (basis, target))
    else:
        basis_mean = target_mean = torch.zeros_like(quantized.scale)
    # Centred before squares are summed: a large zero would cancel the digits of the slope otherwise.
    centred = basis - basis_mean  # (models, rows, columns)
    image = centred if gram is None else centred @ gram
    spread = (image * centred).sum(2, keepdim=True)
    scale = (image * (target - target_mean)).sum(2, keepdim=True) / spread
    zero = quantized.zero + basis_mean - target_mean / scale
    keep = ~((scale > torch.finfo(scale.dtype).tiny) & zero.isfinite() & (spread > 0))
    return replace(
        quantized, scale=torch.where(keep, quantized.scale, scale), zero=torch.where(keep, quantized.zero, zero)
    )


@dataclass(frozen=True)
class MinMax(Grid):
    """From the least to the largest weight of the channel.

    Args:
        contain_zero: whether the range is widened to contain 0, so that 0 is a grid point.
    """

    by_output: ClassVar[bool] = False
    contain_zero: bool = True

    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """Scale and the rounded zero of the full range."""
        low, high = _weight_range(weight, self.contain_zero)
        return _integer_grid(low, high, _last_code(levels, weight))


@dataclass(frozen=True)
class RangeSearch(Grid):
    """Search of the range, as in the published quantizers: shrink it in proportion, keep the first best.

    Candidate i is the range times 1 - i / 100. All candidates share one zero (up to rounding), which is why a symmetric
    channel wastes a level at 2 bits and cannot have two opposite values at 1 bit; `RangeZeroSearch` can.

    Args:
        contain_zero: whether the range is widened to contain 0 first (OBC) or taken as given (BRECQ).
        candidates: how many shrunk ranges are tried.
        exponent: of the absolute weight error that is summed per channel; not used by output.
        by_output: whether to compare by output error instead.

    Raises:
        ValueError: if an option is out of its range.

    Source: Frantar & Alistarh 2022, arXiv:2208.11580, and Li et al. 2021, arXiv:2102.05426 (their public codes).
    """

    contain_zero: bool = True
    candidates: int = 80
    exponent: float = 2.4
    by_output: bool = False

    def __post_init__(self) -> None:
        check_options(
            (1 <= self.candidates <= 100, "candidates must lie between 1 and 100, such as 80", self.candidates),
            (self.exponent > 0, "exponent must be above 0, such as 2.4", self.exponent),
        )

    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """The first of the shrunk ranges with the least error, per channel."""
        low, high = _weight_range(weight, self.contain_zero)
        last = _last_code(levels, weight)
        shrunk = (
            _integer_grid(low * factor, high * factor, last)
            for factor in (1 - step / 100 for step in range(self.candidates))
        )
        return _first_best(shrunk, _error_on(weight, levels, _metric(self, gram), self.exponent))


@dataclass(frozen=True)
class RangeZeroSearch(Grid):
    """Search of range and zero together, the zero in half steps: the grid may hold 0, or lie symmetric about it.

    The centre of the grid moves from the middle of the range (widest grid) to the mean weight (narrowest).

    Args:
        ranges: how many widths are tried, in equal ratios.
        widest: the largest width, in units of the channel's range; above 1, so that a grid of few points is among
            the candidates at every finer precision.
        narrowest: the smallest width, in the same units.
        shifts: half steps to either side of the centre that are tried for the zero.
        by_output: whether to compare by output error instead of squared weight error.

    Raises:
        ValueError: if an option is out of its range.
    """

    ranges: int = 40
    widest: float = 1.6
    narrowest: float = 0.05
    shifts: int = 2
    by_output: bool = False

    def __post_init__(self) -> None:
        check_options(
            (self.ranges >= 1, "ranges must be at least 1, such as 40", self.ranges),
            (self.narrowest > 0, "narrowest must be above 0, such as 0.05", self.narrowest),
            (self.widest > self.narrowest, f"widest must be above narrowest, {self.narrowest}", self.widest),
            (self.shifts >= 0, "shifts must be at least 0, such as 2", self.shifts),
        )

    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """The first best of all widths and zeros, per channel."""
        return _first_best(self.candidates(weight, levels), _error_on(weight, levels, _metric(self, gram), 2.0))

    def candidates(self, weight: Tensor, levels: Tensor) -> Iterator[Affine]:
        """Every grid that is tried, widest first."""
        low, high = _weight_range(weight, contain_zero=False)
        last, mean = _last_code(levels, weight), weight.mean(dim=2, keepdim=True)
        for step in range(self.ranges):
            width = self.widest * (self.narrowest / self.widest) ** (step / max(self.ranges - 1, 1))
            scale = width * (high - low) / last
            share = min(width, 1.0)
            centre = share * (low + high) / 2 + (1 - share) * mean
            middle = torch.round(last - 2 * centre / scale) / 2  # the zero of this centre, in half steps
            for shift in range(-self.shifts, self.shifts + 1):
                yield scale, middle + shift / 2


@dataclass(frozen=True)
class AlternatingFit(Grid):
    """Alternate nearest codes with the scale and zero that fit them best: Lloyd's algorithm for an affine codebook.

    Args:
        start: the grid to start from.
        rounds: how often codes and grid alternate; the best grid on the way is kept.
        by_output: whether grids are fitted and compared by output error instead of weight error.

    Raises:
        ValueError: if an option is out of its range.
    """

    start: Grid = RangeZeroSearch()
    rounds: int = 10
    by_output: bool = False

    def __post_init__(self) -> None:
        check_options(
            (self.rounds >= 0, "rounds must be at least 0, such as 10", self.rounds),
            (
                self.by_output or not self.start.by_output,
                "by_output must be true where that of start is",
                self.by_output,
            ),
        )

    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """The best grid on the way."""
        metric = _metric(self, gram)
        start = self.start.fit(weight, levels, gram)
        return _first_best(self._rounds(start, weight, levels, metric), _error_on(weight, levels, metric, 2.0))

    def _rounds(self, affine: Affine, weight: Tensor, levels: Tensor, metric: Tensor | None) -> Iterator[Affine]:
        yield affine
        for _ in range(self.rounds):
            quantized = refit(quantize_to(weight, affine, levels), weight, metric)
            affine = quantized.scale, quantized.zero
            yield affine


@dataclass(frozen=True)
class Widened(Grid):
    """The grids of another rule, widened (or narrowed) about their middle.

    Solvers that compensate the error of one weight in others push weights past the ends of the grid, so that another
    width is best for them than for nearest rounding; the fewer the levels, the more so.

    Args:
        grid: the rule whose grids are widened.
        steps: by how many steps of the scale the whole grid becomes wider; negative for narrower, above -1.

    Raises:
        ValueError: if an option is out of its range.
    """

    grid: Grid
    steps: float

    def __post_init__(self) -> None:
        check_options((self.steps > -1, "steps must be above -1, where two levels become one", self.steps))

    @property
    def by_output(self) -> bool:
        """As of the rule whose grids are widened."""
        return self.grid.by_output

    def fit(self, weight: Tensor, levels: Tensor, gram: Tensor | None = None) -> Affine:
        """The same middle, another scale."""
        scale, zero = self.grid.fit(weight, levels, gram)
        last = _last_code(levels, weight)
        factor = 1 + self.steps / last
        return factor * scale, last / 2 - (last / 2 - zero) / factor


def _last_code(levels: Tensor, like: Tensor) -> Tensor:
    """Highest code, levels - 1, as (models, 1, 1) of the weight's type."""
    return (levels - 1).to(like).view(-1, 1, 1)


def _weight_range(weight: Tensor, contain_zero: bool) -> Affine:
    """Least and largest weight per channel, (models, rows, 1); never the same number."""
    low, high = weight.amin(dim=2, keepdim=True), weight.amax(dim=2, keepdim=True)
    widen = (low == high) | contain_zero
    low, high = torch.where(widen, low.clamp(max=0), low), torch.where(widen, high.clamp(min=0), high)
    empty = low == high  # all weights are 0: any range will do
    return low.masked_fill(empty, -1.0), high.masked_fill(empty, 1.0)


def _integer_grid(low: Tensor, high: Tensor, last: Tensor) -> Affine:
    """The grid from low to high whose zero is rounded to an integer."""
    scale = (high - low) / last
    return scale, torch.round(-low / scale)


def _metric(grid: Grid, gram: Tensor | None) -> Tensor | None:
    """The gram matrix where the grid is chosen by output error, else None."""
    if grid.by_output and gram is None:
        raise ValueError(f"{type(grid).__name__}(by_output=True) compares output errors, so it needs a gram matrix")
    return gram if grid.by_output else None


def _error_on(
    weight: Tensor, levels: Tensor, metric: Tensor | None, exponent: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function that scores a grid per channel: output error, or the sum of |w - w_hat| to a power."""

    def error(scale: Tensor, zero: Tensor) -> Tensor:
        difference = weight - quantize_to(weight, (scale, zero), levels).weight()
        if metric is not None or math.isclose(exponent, 2.0):
            return output_error(difference, metric)
        return difference.abs_().pow_(exponent).sum(dim=2, keepdim=True)

    return error


def _first_best(candidates: Iterable[Affine], error: Callable[[Tensor, Tensor], Tensor]) -> Affine:
    """Per channel, the first candidate of least error."""
    remaining = iter(candidates)
    scale, zero = next(remaining)
    least = error(scale, zero)
    for candidate_scale, candidate_zero in remaining:
        score = error(candidate_scale, candidate_zero)
        better = score < least
        least = torch.where(better, score, least)
        scale, zero = torch.where(better, candidate_scale, scale), torch.where(better, candidate_zero, zero)
    return scale, zero
