"""Figures of the MIS indicator, drawn from stored runs: pure functions from arrays to a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lit_privq.indicator.stability import Stability
from lit_privq.plot.labels import place_labels
from lit_privq.plot.style import CARD, COLOURS, COLUMN, COLUMN_INCHES, INK, MARKERS, MUTED

Array = NDArray[np.float64]

_FAMILIES = ("sign", "ternary", "absmean", "uniform")
_PAGE_INCHES = 7.0  # both columns of a paper
_STYLE = COLUMN | {
    "lines.linewidth": 1.0,
    "lines.markersize": 3.6,
    "legend.fontsize": 7,
    "axes.titlesize": 7.5,
    "figure.titlesize": 8,
}


@dataclass(frozen=True)
class Cloud:
    """One panel of a scatter plot.

    Args:
        title: of the panel.
        names: (points,) quantizers.
        across: (points,) on a logarithmic axis; points that are not finite and positive are left out.
        up: (points,).
        spread: (2, points) the quartiles of ``across``; None for none.
    """

    title: str
    names: Sequence[str]
    across: Array
    up: Array
    spread: Array | None = None


def draw_stability(title: str, names: Sequence[str], stable: Stability, lira: tuple[Sequence[int], Array]) -> Figure:
    """Exhibit 1: how fast a ranking settles, and which quantizer stands where.

    Above, the rank correlation with the ranking of all runs, of the indicator and of LiRA (the baseline); below it, at
    every number of runs, which quantizers the subsets put at each rank, as pies; on the right, the same at 20 and 50
    runs (or the two largest numbers below) against the ranking of all runs.

    Args:
        title: of the experiment.
        names: (quantizers,).
        stable: of the indicator.
        lira: numbers of runs, and the rank correlations (numbers, subsets) of LiRA's advantage; empty for none.
    """
    sizes, shares = stable.sizes, stable.shares[:, stable.order]  # (sizes, quantizers as ranked by all runs, ranks)
    ordered = [names[place] for place in stable.order]
    with _figure(_PAGE_INCHES, 4.8) as figure:
        halves = figure.add_gridspec(1, 2, width_ratios=[1, 1.25])
        left, right = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
        settling, pies = left.subplots(2, 1, height_ratios=[1, 2.6], sharex=True)
        _draw_settling(settling, stable, lira)
        figure.suptitle(title, x=0.01, ha="left")
        _draw_pies(pies, sizes, shares, ordered)
        for axes, size in zip(right.subplots(2, 1), _compared(sizes), strict=True):
            _draw_confusion(axes, shares[size], ordered)
            axes.set_title(f"ranking by {sizes[size]} runs, share of subsets", loc="left")
    return figure


def _draw_settling(axes: Axes, stable: Stability, lira: tuple[Sequence[int], Array]) -> None:
    curves = {"indicator r": (stable.sizes, stable.spearman), "LiRA (baseline)": lira}
    for (name, (sizes, correlation)), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        if correlation.size:
            places = [stable.sizes.index(size) for size in sizes]
            low, middle, high = np.quantile(correlation, [0.25, 0.5, 0.75], axis=1)
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(places, middle, color=colour, marker=marker, label=name)
    axes.set(ylabel="Spearman to all runs", ylim=(None, 1.03))
    axes.legend(loc="lower right", handlelength=1.4, borderaxespad=0.2)


def _draw_pies(axes: Axes, sizes: Sequence[int], shares: Array, ordered: Sequence[str]) -> None:
    """A column of pies per number of runs, a pie per rank; lines join each quantizer's most frequent ranks."""
    colours = [_tint(name, ordered) for name in ordered]
    for row, colour in enumerate(colours):
        axes.plot(shares[:, row].argmax(axis=1), color=colour, linewidth=0.8, zorder=0)
    for column, rank in np.ndindex(len(sizes), len(ordered)):
        axes.pie(shares[column, :, rank], colors=colours, center=(column, rank), radius=0.4, frame=True, normalize=True)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_yticks(range(len(ordered)), [f"{rank + 1}: {name}" for rank, name in enumerate(ordered)])
    axes.set(xlabel="runs", ylabel="rank by all runs, 1 = least private")
    axes.set(xlim=(-0.6, len(sizes) - 0.4), ylim=(len(ordered) - 0.4, -0.6), aspect="auto")
    axes.grid(visible=False)


def _draw_confusion(axes: Axes, shares: Array, ordered: Sequence[str]) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(ordered)), ordered)
    axes.set_xticks(range(len(ordered)), [str(rank + 1) for rank in range(len(ordered))])
    axes.set(xlabel="rank, 1 = least private", ylabel="as ranked by all runs")
    axes.grid(visible=False)
    for row, rank in np.ndindex(*shares.shape):
        if shares[row, rank] >= 0.005:
            colour = CARD if shares[row, rank] > 0.5 else INK
            axes.text(rank, row, f"{100 * shares[row, rank]:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _compared(sizes: Sequence[int]) -> tuple[int, int]:
    """Where 20 and 50 stand among the sizes, as in the paper; the two largest where they do not."""
    if {20, 50} <= set(sizes):
        return sizes.index(20), sizes.index(50)
    return max(len(sizes) - 2, 0), len(sizes) - 1


def _tint(name: str, names: Sequence[str]) -> tuple[float, float, float]:
    """The colour of a quantizer's family, mixed with white to tell its members apart."""
    share = _shade(name, names)
    red, green, blue = (share * value + 1 - share for value in to_rgb(_look(name)[0]))
    return red, green, blue


def draw_clouds(clouds: Sequence[Cloud], across: str, up: str) -> Figure:
    """Exhibits 2 to 4: a panel per experiment, a point per quantizer."""
    columns = min(3, len(clouds))
    rows = math.ceil(len(clouds) / columns)
    with _figure(COLUMN_INCHES if len(clouds) == 1 else _PAGE_INCHES, (2.4 if columns < 3 else 2.1) * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, cloud in zip(panels, clouds, strict=False):
            _scatter(axes, cloud)
            axes.set(xscale="log", xlabel=across, ylabel=up)
            axes.set_title(cloud.title, loc="left")
        for axes in panels[len(clouds) :]:
            axes.remove()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed where the panels are now
        for axes, cloud in zip(panels, clouds, strict=False):
            axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # nor may lines to labels move them
            _name_points(axes, cloud)
    return figure


def draw_truth(names: Sequence[str], r: Array, advantages: Mapping[str, Array]) -> Figure:
    """Exhibit 2 where the truth is known: a panel per algorithm, a point per problem and quantizer.

    Args:
        names: (quantizers,).
        r: (problems, quantizers).
        advantages: (problems, quantizers) 1 - MIS, by title; what is below 1e-16 is drawn there.
    """
    with _figure(_PAGE_INCHES, 2.8) as figure:
        panels = figure.subplots(1, len(advantages), squeeze=False, sharey=True).ravel()
        for axes, (title, advantage) in zip(panels, advantages.items(), strict=True):
            for column, name in enumerate(names):
                colour, marker = _look(name)
                lost = np.maximum(advantage[:, column], 1e-16)
                axes.plot(r[:, column], lost, color=colour, marker=marker, linestyle="none", alpha=_shade(name, names))
            axes.set(xscale="log", yscale="log", xlabel="indicator r, higher is more private")
            axes.set_title(title, loc="left")
        panels[0].set_ylabel("1 - MIS, by brute force")
        panels[0].invert_yaxis()
        panels[0].legend(panels[0].lines, names)
    return figure


def draw_maps(weights: Array, maps: Mapping[str, Array]) -> Figure:
    """Exhibit 5: what each quantizer makes of the weights on [-1, 1].

    Args:
        weights: (points,) ascending.
        maps: (points,) by quantizer.
    """
    columns = 4
    rows = math.ceil(len(maps) / columns)
    with _figure(_PAGE_INCHES, 1.5 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (name, values) in zip(panels, maps.items(), strict=False):
            axes.plot(weights, weights, color=MUTED, linewidth=0.8)
            axes.plot(weights, values, color=_look(name)[0], linewidth=1.2)
            axes.set_title(name, loc="left")
        for axes in panels[len(maps) :]:
            axes.remove()
    return figure


def draw_lambdas(title: str, lambdas: Mapping[str, Array]) -> Figure:
    """lambda_k against k, competitors in the order of their gaps: the largest decides r.

    Args:
        title: of the experiment.
        lambdas: (competitors,) by quantizer, the nearest competitor first.
    """
    with _figure(COLUMN_INCHES, 2.6) as figure:
        axes = figure.subplots()
        for name, values in lambdas.items():
            colour, marker = _look(name)
            shade = _shade(name, list(lambdas))
            k = np.arange(2, len(values) + 2)
            axes.plot(k, values, color=colour, marker=marker, markersize=2, linewidth=0.8, alpha=shade)
        axes.set(yscale="log", xlabel="k, competitors by their gap", ylabel="λₖ = (δ₂/δₖ)² σₖ²")
        axes.set_title(title, loc="left")
        axes.margins(x=0.16)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed where the lines are now
        ends = [(len(values) + 1.0, float(values[-1]), name, _look(name)[0]) for name, values in lambdas.items()]
        spots = [(k, value, k, value) for values in lambdas.values() for k, value in enumerate(values.tolist(), 2)]
        place_labels(axes, ends, np.array(spots), fontsize=7)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG; ``path`` has no ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=300)
        figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})


def _scatter(axes: Axes, cloud: Cloud) -> None:
    for point in _drawn(cloud):
        up, (colour, marker) = cloud.up[point], _look(cloud.names[point])
        if cloud.spread is not None and np.isfinite(cloud.spread[:, point]).all():
            axes.plot(cloud.spread[:, point], [up, up], color=colour, linewidth=1, alpha=0.5)
        axes.plot(cloud.across[point], up, color=colour, marker=marker, linestyle="none")


def _name_points(axes: Axes, cloud: Cloud) -> None:
    points = [(float(cloud.across[k]), float(cloud.up[k]), cloud.names[k], MUTED) for k in _drawn(cloud)]
    spreads = np.empty((0, 2)) if cloud.spread is None else cloud.spread.T[_drawn(cloud)]  # (points, 2)
    bars = [(low, up, high, up) for (low, high), (_, up, _, _) in zip(spreads, points, strict=False)]
    bars = [bar for bar in bars if np.isfinite(bar).all()]
    place_labels(axes, points, np.array(bars).reshape(-1, 4), fontsize=7)


def _drawn(cloud: Cloud) -> list[int]:
    """Points that have a place on a logarithmic axis."""
    return [k for k, across in enumerate(cloud.across) if np.isfinite(across) and across > 0]


def _look(name: str) -> tuple[str, str]:
    """Colour and marker of a quantizer's family."""
    family = name.partition("-")[0]
    if family not in _FAMILIES:
        return INK, "o"
    number = _FAMILIES.index(family)
    return COLOURS[number], MARKERS[number]


def _shade(name: str, names: Sequence[str]) -> float:
    """Opacity that tells the members of a family apart."""
    family = [other for other in names if other.partition("-")[0] == name.partition("-")[0]]
    return 1 - 0.7 * family.index(name) / len(family)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")
