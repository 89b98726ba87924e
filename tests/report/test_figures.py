from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lit_privq.artifacts.variant import Variant
from lit_privq.report.figures import Drawing, leakage, tradeoff, useful, worst_case
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View

LOW = Variant("nearest", 1.58, 1.58)


@pytest.fixture
def guessed(seen: View) -> View:
    """The believable study, if one of its variants only guessed."""
    focus = replace(seen.focus, guessing=(LOW.name,))
    return replace(seen, measures=replace(seen.measures, focus=focus))


def rows(figure: Figure) -> list[str]:
    return [label.get_text().replace("\N{NO-BREAK SPACE}", " ") for label in figure.axes[0].get_yticklabels()]


def test_a_model_that_only_guesses_takes_no_room_in_figures_of_utility(seen: View, guessed: View) -> None:
    assert "Nearest 1.58" in rows(useful(seen))
    assert "Nearest 1.58" not in rows(useful(guessed))
    low, lower = tradeoff(guessed).axes[0].get_ylim()[0], tradeoff(seen).axes[0].get_ylim()[0]
    assert lower < 0.634 < low


def test_a_model_that_only_guesses_stands_in_no_worst_case(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": [0.10, 0.11], "obc-2": [0.06, 0.07], "nearest-1.58": [0.01, 0.01]}
    view = read_inputs(made_up(leaks, slices={"canaries": leaks}))[0]
    focus = replace(view.focus, guessing=(LOW.name,))
    view = replace(view, measures=replace(view.measures, focus=focus))
    assert rows(worst_case(view)) == ["Full precision", "obc 2"]


def test_what_a_model_that_only_guesses_leaks_is_shown(guessed: View) -> None:
    assert "Nearest 1.58" in rows(leakage(guessed, guessed.attack))


def test_a_key_of_many_methods_takes_several_lines_and_stays_inside(
    write_view: Callable[..., View],
) -> None:
    head = {"attacker": "unaware", "attack": "lira_online_fixed", "metric": "tpr_at_0.01"}
    names = [f"quantizer_{number}" for number in range(7)]
    found = [("none", 32.0), *((name, 2.0) for name in names)]
    cells = [
        {"method": method, "bits": bits, "last_bits": bits, "target": target} | what
        for method, bits in found
        for target in (1, 2)
        for what in ({"metric": "accuracy", "value": 0.9 + 0.01 * target}, head | {"value": 0.1 + 0.01 * target})
    ]
    figure = tradeoff(write_view(*cells))
    figure.draw_without_rendering()
    key, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert key.y0 > axes.y1


def test_the_same_figure_gives_the_same_files(seen: View) -> None:
    first, second = (Drawing("tradeoff", tradeoff(seen), "").files() for _ in range(2))
    assert first == second


def test_a_long_name_of_a_row_is_not_cut_and_covers_no_other(seen: View) -> None:
    titles = replace(seen.titles, methods={"nearest": "Quantization-aware training"})
    figure = useful(replace(seen, titles=titles))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert "Quantization-aware\ntraining 1.58" in rows(figure)
    assert min(box.x0 for box in boxes) > 0
    assert all(upper.y0 > lower.y1 - 1 for upper, lower in pairwise(boxes))  # in pixels; a line has room for accents
