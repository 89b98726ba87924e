import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lit_privq.plot.labels import place_labels, text_width, wrapped


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_crowded_points_cover_neither_each_other_nor_a_point(seed: int) -> None:
    points = np.random.default_rng(seed).normal(0.8, 0.02, size=(7, 2)).tolist()
    figure = Figure(figsize=(5, 4))
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axes, [(x, y, f"{n} bits", "black") for n, (x, y) in enumerate(points)], np.empty((0, 4)))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    boxes = [box for box in boxes if box.width]
    assert len(boxes) == 7
    assert all(Bbox.intersection(a, b) is None for n, a in enumerate(boxes) for b in boxes[:n])
    assert not any(box.contains(*axes.transData.transform(point)) for box in boxes for point in points)
    assert all(axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) for box in boxes)


def test_a_lone_point_is_labelled_beside_it() -> None:
    figure = Figure()
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axes, [(0.5, 0.5, "2 bits", "black")], np.empty((0, 4)))
    (text,) = axes.texts
    assert np.hypot(*text.get_position()) < 12
    assert not axes.lines


@pytest.mark.parametrize("width", [40.0, 90.0, 200.0])
def test_a_wrapped_text_keeps_its_words_and_its_width(width: float) -> None:
    text = "No precision leaks clearly less at 1.58\N{NO-BREAK SPACE}bits"
    lines = wrapped(text, width, 8.0, "bold").splitlines()
    assert " ".join(lines) == text
    assert all(text_width(line, 8.0, "bold") <= width for line in lines if " " in line)
    assert any("1.58\N{NO-BREAK SPACE}bits" in line for line in lines)


def test_labels_keep_clear_of_a_text_that_is_there() -> None:
    figure = Figure(figsize=(3, 3))
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    there = axes.text(0.52, 0.5, "random guessing", fontsize=9.5)
    place_labels(axes, [(0.5, 0.5, "2 bits", "black")], np.empty((0, 4)))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    label = axes.texts[-1].get_window_extent(renderer)
    assert not label.overlaps(there.get_window_extent(renderer))


@pytest.mark.parametrize("seed", range(12))
def test_long_labels_among_short_ones_cover_no_point(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0.3, 0.7, size=(9, 2)).tolist()
    words = ["2 bits"] * 6 + ["DP-SGD, medium noise"] * 3
    figure = Figure(figsize=(3, 2.5))
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [(x, y, text, "black") for (x, y), text in zip(points, words, strict=True)]
    place_labels(axes, labels, np.empty((0, 4)), fontsize=7.0)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 9
    assert not any(box.contains(*axes.transData.transform(point)) for box in boxes for point in points)
