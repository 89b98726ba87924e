from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lit_privq.artifacts.results import Key, OwnValue
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.style import COLUMN, INK
from lit_privq.report.figures import Drawing, leakage, tradeoff, useful, worst_case
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.page import FOLDED, OPEN
from lit_privq.report.sections.attackers import section as section_of_attackers
from lit_privq.report.sections.differences import section as section_of_changes
from lit_privq.report.view import View

LOW = Variant("nearest", 1.58, 1.58)


@pytest.fixture(autouse=True)
def _column() -> Iterator[None]:
    with matplotlib.rc_context(COLUMN):
        yield


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


def test_the_worst_case_is_drawn_as_it_is_judged_by_the_area(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": [0.10, 0.11], "obc-2": [0.06, 0.07]}
    view = read_inputs(made_up(leaks, metric="auc", slices={"canaries": leaks}))[0]
    dots = [line for line in worst_case(view).axes[0].lines if line.get_marker() not in ("None", "")]
    assert [dot.get_label() for dot in dots] == ["all examples", "canaries"] * 2


def test_a_model_that_only_guesses_stands_in_no_figure_of_leakage(seen: View, guessed: View) -> None:
    for draw in (partial(leakage, attack="lira_offline_fixed"), _changes, _strongest):
        assert "Nearest 1.58" in rows(draw(seen))
        assert "Nearest 1.58" not in rows(draw(guessed))


def _changes(view: View) -> Figure:
    (drawing,) = section_of_changes(view, Inputs()).drawings  # type: ignore[union-attr]
    return drawing.figure


def _strongest(view: View) -> Figure:
    (drawing,) = section_of_attackers(view, Inputs()).drawings
    return drawing.figure


@pytest.mark.parametrize("draw", [tradeoff, lambda view: leakage(view, view.attack)])
def test_a_key_names_only_what_is_drawn(made_up: Callable[..., Path], draw: Callable[[View], Figure]) -> None:
    leaks = {"none-32": [0.10, 0.11], "obc-2": [0.06, 0.07], "nearest-2": [0.01, 0.01]}
    view = read_inputs(made_up(leaks, {"none-32": [0.9, 0.9], "obc-2": [0.8, 0.81], "nearest-2": [0.1, 0.1]}))[0]
    assert view.focus.guessing == ("nearest-2",)
    attacked = replace(view.results, series={**view.results.series, **_by_another_attacker(view)})
    figure = draw(replace(view, results=attacked))
    named = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert named <= {"obc"}


def _by_another_attacker(view: View) -> dict[Key, dict[int, OwnValue]]:
    """A guessing variant's leakage, which a second attacker measured of nobody else."""
    key = view.focus.key(Variant("nearest", 2, 2))
    return {key._replace(attacker="adaptive"): dict(view.results.series[key])}


def test_a_variant_that_fewer_attackers_met_is_drawn_in_the_middle_of_its_row(seen: View) -> None:
    axes = leakage(seen, seen.attack).axes[0]
    (full,) = [line for line in axes.lines if line.get_marker() == "o" and line.get_color() == INK]
    assert np.asarray(full.get_ydata()).tolist() == [axes.get_yticks()[0]] == [0]


def test_the_lettering_of_every_figure_is_legible_in_a_column_and_not_cut(measured_study: Path) -> None:
    view, inputs = read_inputs(measured_study)
    for drawing in (drawing for made in (*OPEN, *FOLDED) if (one := made(view, inputs)) for drawing in one.drawings):
        figure, name = drawing.figure, drawing.name
        figure.draw_without_rendering()
        sizes = {float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()}
        assert all(7 <= size <= 8 for size in sizes), (name, sizes)
        drawn = figure.get_tightbbox()  # inches
        assert figure.get_figwidth() == 3.3
        assert drawn.x0 >= 0, name
        assert drawn.y0 >= 0, name
        assert drawn.x1 <= figure.get_figwidth(), name
        assert drawn.y1 <= figure.get_figheight(), name


def test_labels_stand_below_the_words_random_guessing(made_up: Callable[..., Path]) -> None:
    names = [f"none-32@way_{number}" for number in range(8)]
    leaks = {"none-32": [0.02, 0.02]} | {name: [0.012 + 0.001 * k, 0.012] for k, name in enumerate(names)}
    accuracy = {"none-32": [0.98, 0.98]} | {name: [0.985 + 0.001 * k, 0.985] for k, name in enumerate(names)}
    accuracy["none-32@way_7"] = [0.7, 0.71]
    axes = tradeoff(read_inputs(made_up(leaks, accuracy))[0]).axes[0]
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    (guessing,) = [text for text in axes.texts if text.get_text() == "random guessing"]
    others = [text.get_window_extent() for text in axes.texts if text is not guessing]
    assert not any(guessing.get_window_extent().overlaps(box) for box in others)
    assert axes.get_yscale() == "logit"


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


@pytest.mark.parametrize(("methods", "named"), [(4, 1 + 4 * 4), (5, 1 + 5)])
def test_a_crowded_figure_names_full_precision_and_the_end_of_each_line(
    made_up: Callable[..., Path], methods: int, named: int
) -> None:
    names = [f"{letter}-{bits}" for letter in "abcdefgh"[:methods] for bits in (8, 4, 2, 1)]
    leaks = {"none-32": [0.3, 0.31]} | {name: [0.2 - 0.008 * i, 0.21 - 0.008 * i] for i, name in enumerate(names)}
    useful = {name: [rates[0] + 0.5, rates[1] + 0.5] for name, rates in leaks.items()}
    axes = tradeoff(read_inputs(made_up(leaks, useful))[0]).axes[0]
    shown = [text.get_text() for text in axes.texts if "bit" in text.get_text() or "precision" in text.get_text()]
    assert len(shown) == named
