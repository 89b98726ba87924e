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
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from lit_privq.plot.labels import place_labels
from lit_privq.plot.style import CARD, COLOURS, INK, MARKERS, MUTED, RC

Array = NDArray[np.float64]

_FAMILIES = ("sign", "ternary", "absmean", "uniform")


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


def draw_stability(title: str, names: Sequence[str], sizes: Sequence[int], spearman: Array, shares: Array) -> Figure:
    """Exhibit 1: how fast a ranking settles, and which quantizer stands where.

    Args:
        title: of the experiment.
        names: (quantizers,).
        sizes: runs of a subset.
        spearman: (sizes, subsets), to the ranking of all runs.
        shares: (sizes, quantizers, ranks).
    """
    with _figure(11, 4.2) as figure:
        curve, *tables = figure.subplots(1, 3, width_ratios=[1.1, 1, 1])
        low, middle, high = np.quantile(spearman, [0.25, 0.5, 0.75], axis=1)
        curve.fill_between(sizes, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
        curve.plot(sizes, middle, color=COLOURS[0], marker="o")
        curve.set(xscale="log", xlabel="runs", ylabel="Spearman to the ranking of all runs", ylim=(None, 1.02))
        curve.set_xticks(sizes, [str(size) for size in sizes])
        curve.minorticks_off()
        curve.set_title(title, loc="left")
        order = (shares[-1] @ np.arange(len(names))).argsort()
        for axes, size in zip(tables, (len(sizes) // 2, len(sizes) - 1), strict=True):
            axes.imshow(shares[size][order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_yticks(range(len(names)), [names[i] for i in order] if axes is tables[0] else [])
            axes.set_xticks(range(0, len(names), 2), [str(rank + 1) for rank in range(0, len(names), 2)])
            axes.set(xlabel="rank, 1 = least private")
            axes.set_title(f"share of subsets, {sizes[size]} runs", loc="left")
            axes.grid(visible=False)
    return figure


def draw_clouds(clouds: Sequence[Cloud], across: str, up: str) -> Figure:
    """Exhibits 2 to 4: a panel per experiment, a point per quantizer."""
    columns = min(3, len(clouds))
    rows = math.ceil(len(clouds) / columns)
    with _figure(4.2 * columns, 3.4 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, cloud in zip(panels, clouds, strict=False):
            _scatter(axes, cloud)
            axes.set(xscale="log", xlabel=across, ylabel=up)
            axes.set_title(cloud.title, loc="left", fontsize=10)
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
    with _figure(4.6 * len(advantages), 3.8) as figure:
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
        panels[0].legend(panels[0].lines, names, fontsize=8)
    return figure


def draw_maps(weights: Array, maps: Mapping[str, Array]) -> Figure:
    """Exhibit 5: what each quantizer makes of the weights on [-1, 1].

    Args:
        weights: (points,) ascending.
        maps: (points,) by quantizer.
    """
    columns = 4
    rows = math.ceil(len(maps) / columns)
    with _figure(2.6 * columns, 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (name, values) in zip(panels, maps.items(), strict=False):
            axes.plot(weights, weights, color=MUTED, linewidth=0.8)
            axes.plot(weights, values, color=_look(name)[0], linewidth=1.8)
            axes.set_title(name, loc="left", fontsize=10)
        for axes in panels[len(maps) :]:
            axes.remove()
    return figure


def draw_lambdas(title: str, lambdas: Mapping[str, Array]) -> Figure:
    """lambda_k against k, competitors in the order of their gaps: the largest decides r.

    Args:
        title: of the experiment.
        lambdas: (competitors,) by quantizer, the nearest competitor first.
    """
    with _figure(6.4, 4.2) as figure:
        axes = figure.subplots()
        for name, values in lambdas.items():
            colour, marker = _look(name)
            axes.plot(
                np.arange(2, len(values) + 2),
                values,
                color=colour,
                marker=marker,
                markersize=3,
                alpha=_shade(name, list(lambdas)),
            )
            axes.annotate(
                name,
                (len(values) + 1, values[-1]),
                (4, -2),
                textcoords="offset points",
                fontsize=7,
                color=colour,
                path_effects=[withStroke(linewidth=2.5, foreground=CARD)],  # legible where lines pass below
            )
        axes.set(yscale="log", xlabel="k, competitors by their gap", ylabel="λₖ = (δ₂/δₖ)² σₖ²")
        axes.set_title(title, loc="left")
        axes.margins(x=0.12)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG; ``path`` has no ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC):
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=130)
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
    with mpl.rc_context(RC):
        yield Figure(figsize=(width, height), layout="constrained")
