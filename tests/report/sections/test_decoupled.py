from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.decoupled import section
from lit_privq.report.sections.section import Section

USEFUL = {"none-32": [0.900, 0.902], "obc-2": [0.800, 0.802], "obc-2-last8": [0.820, 0.822]}
LEAKS = {"none-32": [0.10, 0.11], "obc-2": [0.05, 0.06], "obc-2-last8": [0.06, 0.07]}


def drawn(folder: Path) -> Section | None:
    return section(read_inputs(folder)[0], Inputs())


def titles(found: Section | None) -> list[str]:
    assert found is not None
    return [" ".join(drawing.figure.texts[0].get_text().split()) for drawing in found.drawings]


def test_what_the_last_layer_costs_and_saves_is_the_difference_of_the_twins(made_up: Callable[..., Path]) -> None:
    found = drawn(made_up(LEAKS, USEFUL))
    assert titles(found) == [
        "The last layer at 8 bits changes accuracy by +2.0 points",
        "The last layer at 8 bits changes TPR at 1 % FPR by +1.0 points",
    ]
    assert found is not None
    assert [drawing.name for drawing in found.drawings] == ["decoupled_accuracy", "decoupled_leakage"]


def test_each_pair_is_a_hollow_and_a_filled_dot_in_one_row(made_up: Callable[..., Path]) -> None:
    found = drawn(made_up(LEAKS, USEFUL))
    assert found is not None
    figure = found.drawings[0].figure
    assert [text.get_text() for text in figure.legends[0].texts] == ["same bits in all layers", "last layer apart"]
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() != "None"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == pytest.approx([0.801, 0.821])  # type: ignore[index]
    assert dots[0].get_markerfacecolor() != dots[1].get_markerfacecolor()
    assert len(axes.get_yticklabels()) == 1


def test_several_pairs_have_a_range(made_up: Callable[..., Path]) -> None:
    more = {"obc-1.58": [0.70, 0.702], "obc-1.58-last4": [0.76, 0.762]}
    leaks = {**LEAKS, "obc-1.58": [0.02, 0.03], "obc-1.58-last4": [0.02, 0.03]}
    assert titles(drawn(made_up(leaks, {**USEFUL, **more}))) == [
        "A last layer apart changes accuracy by +2.0 to +6.0 points",
        "A last layer apart changes TPR at 1 % FPR by 0.0 to +1.0 points",
    ]


def test_a_decoupled_variant_without_a_twin_is_compared_with_nothing(made_up: Callable[..., Path]) -> None:
    alone = {name: values for name, values in LEAKS.items() if name != "obc-2"}
    assert drawn(made_up(alone, {name: USEFUL[name] for name in alone})) is None


def test_leakage_is_shown_where_nobody_measured_utility(made_up: Callable[..., Path]) -> None:
    assert len(titles(drawn(made_up(LEAKS)))) == 1
