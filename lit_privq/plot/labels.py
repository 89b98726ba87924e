"""Lettering that fits: labels beside points that cover nothing, and texts broken into lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from lit_privq.plot.style import RC

Boxes = NDArray[np.float64]  # (boxes, 4): left, bottom, right, top

_DISTANCES = np.array([0.95, 1.7, 2.5, 3.6, 4.8])  # from a point to its label, in font sizes
_ANGLES = np.pi / 8 * np.array([1, 0, 15, 2, 14, 4, 12, 6, 10, 7, 9, 8, 3, 13, 5, 11])  # most welcome first
_MARKER, _LINE, _GAP = 0.5, 0.16, 0.3  # to keep clear around points, lines and labels, in font sizes
_FAR = 1.3  # font sizes; a label further away has a line to its point


def place_labels(
    axes: Axes, points: Sequence[tuple[float, float, str, str]], obstacles: Boxes, fontsize: float = 9.5
) -> None:
    """Write a text beside each point, with a thin line to it where it had to move away.

    Greedy: label by label, the longest first, the nearest place that overlaps least. Limits and layout of the axes must
    be final, and all other texts of the axes written.

    Args:
        axes: where to write.
        points: x, y, text and colour of each label, in data coordinates.
        obstacles: (boxes, 4) what else not to cover, in data coordinates.
        fontsize: of the labels, in typographic points.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    size = fontsize * figure.dpi / 72  # pixels
    frame = np.array(axes.get_window_extent().extents)
    centres = axes.transData.transform([(x, y) for x, y, _, _ in points])  # (points, 2) pixels
    taken = np.concatenate(
        [
            np.hstack([centres, centres]) + _grown(_MARKER * size),
            axes.transData.transform(obstacles.reshape(-1, 2)).reshape(-1, 4) + _grown(_LINE * size),
            np.reshape([text.get_window_extent(renderer).extents for text in axes.texts], (-1, 4)),
        ]
    )
    for place in sorted(range(len(points)), key=lambda place: -len(points[place][2])):  # short ones fit anywhere
        (x, y, words, colour), centre = points[place], centres[place]
        text = axes.annotate(words, (x, y), (0, 0), textcoords="offset points", color=colour, fontsize=fontsize)
        box = text.get_window_extent(renderer)
        places = _places(centre, box.width, box.height, _DISTANCES * size)
        gaps = _gaps(places, centre)
        costs: NDArray[np.float64] = gaps + 10 * _covered(places, taken) + 100 * _outside(places, frame)
        best = int(np.argmin(costs))
        text.set_position(tuple((places[best, :2] - centre) * 72 / figure.dpi))
        taken = np.vstack([taken, places[best] + _grown(_GAP * size)])
        if gaps[best] > _FAR * size:
            end = axes.transData.inverted().transform(np.clip(centre, places[best, :2], places[best, 2:]))
            axes.plot([x, end[0]], [y, end[1]], color=colour, linewidth=0.6, alpha=0.7)


def text_width(text: str, fontsize: float, weight: str = "normal") -> float:
    """Width of a line in the figures' own face, in typographic points."""
    face = FontProperties(family=RC["font.family"], size=fontsize, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, face, ismath=False)[0])


def wrapped(text: str, width: float, fontsize: float, weight: str = "normal") -> str:
    """A text in lines of a width in typographic points, broken at spaces; a single word may be wider."""
    lines: list[str] = []
    for word in text.split(" "):  # not at no-break spaces
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, fontsize, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _grown(margin: float) -> NDArray[np.float64]:
    """What to add to a box for a margin on every side, (4,)."""
    return np.array([-margin, -margin, margin, margin])


def _places(centre: NDArray[np.float64], width: float, height: float, distances: NDArray[np.float64]) -> Boxes:
    """What a text covers at each distance and angle of a point, (distances x angles, 4)."""
    directions = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # (angles, 2)
    size = np.array([width, height])
    corners = centre + distances[:, None, None] * directions + (directions - 1) / 2 * size  # (distances, angles, 2)
    corners = corners.reshape(-1, 2)  # (distances x angles, 2)
    return np.hstack([corners, corners + size])


def _covered(places: Boxes, taken: Boxes) -> NDArray[np.float64]:
    """Area of each place that is taken, counted as often as it is, (places,)."""
    low = np.maximum(places[:, None, :2], taken[None, :, :2])  # (places, taken, 2)
    high = np.minimum(places[:, None, 2:], taken[None, :, 2:])  # (places, taken, 2)
    return np.asarray(np.clip(high - low, 0.0, None).prod(axis=2).sum(axis=1), dtype=np.float64)


def _outside(places: Boxes, frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each place sticks out of the frame, (places,)."""
    beyond = np.hstack([frame[:2] - places[:, :2], places[:, 2:] - frame[2:]])  # (places, 4)
    return np.asarray(beyond.max(axis=1).clip(0.0), dtype=np.float64)


def _gaps(places: Boxes, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the point to each place, (places,)."""
    nearest = np.clip(centre, places[:, :2], places[:, 2:])
    return np.asarray(np.linalg.norm(nearest - centre, axis=1), dtype=np.float64)
