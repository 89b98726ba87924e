from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.classes import MOST, section

MadeUp = Callable[..., Path]
LEAKS = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-2": [0.06, 0.07, 0.08, 0.09]}
USEFUL = {"none-32": [0.9] * 4, "obc-2": [0.8] * 4}
EXPOSED = {"none-32": [0.4, 0.41, 0.39, 0.4], "obc-2": [0.3, 0.31, 0.29, 0.3]}


def test_the_most_and_the_least_exposed_class_are_named(made_up: MadeUp) -> None:
    view, _ = read_inputs(made_up(LEAKS, slices={"class_0": LEAKS, "class_1": EXPOSED}))
    found = section(view, Inputs())
    assert found is not None
    assert found.values["sentence"].replace("\xa0", " ") == (
        "Full precision: TPR at 1 % FPR is highest for class 1 (40.0 %) and lowest for class 0 (11.5 %)."
    )
    assert found.values["drawn"] == ["class_leakage"]  # nobody measured accuracy by class


def test_accuracy_by_class_is_drawn_where_it_was_measured(made_up: MadeUp) -> None:
    slices = {"class_0": LEAKS, "class_1": EXPOSED}
    view, _ = read_inputs(made_up(LEAKS, USEFUL, slices=slices, useful_slices={"class_1": USEFUL}))
    found = section(view, Inputs())
    assert found is not None
    assert found.values["drawn"] == ["class_leakage", "class_utility"]
    assert "class 1" in found.drawings[0].alt


def test_without_classes_or_with_too_many_there_is_no_section(made_up: MadeUp) -> None:
    assert section(read_inputs(made_up(LEAKS, slices={"canaries": EXPOSED}))[0], Inputs()) is None
    many = {f"class_{label}": EXPOSED for label in range(MOST + 1)}
    assert section(read_inputs(made_up(LEAKS, slices=many))[0], Inputs()) is None
