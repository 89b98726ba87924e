from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.sections.worst_case import section

MadeUp = Callable[..., Path]
LEAKS = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-2": [0.06, 0.07, 0.08, 0.09]}
GIVEN_AWAY = {"none-32": [0.99, 0.98, 0.97, 0.98], "obc-2": [0.97, 0.99, 0.98, 0.98]}
PROTECTED = {"none-32": [0.99, 0.98, 0.97, 0.98], "obc-2": [0.59, 0.57, 0.58, 0.572]}


def shown(folder: Path) -> Section:
    found = section(read_inputs(folder)[0], Inputs())
    assert found is not None
    return found


def said(found: Section) -> str:
    return " ".join(found.values["sentences"]).replace("\xa0", " ")


def test_a_worst_case_that_quantization_does_not_touch_is_said_so(made_up: MadeUp) -> None:
    found = shown(made_up(LEAKS, slices={"canaries": GIVEN_AWAY}))
    assert said(found) == "No variant is shown to lower the AUC among the canaries for other targets."


def test_a_worst_case_that_quantization_lowers_is_said_with_the_size(made_up: MadeUp) -> None:
    found = shown(made_up(LEAKS, slices={"canaries": PROTECTED}))
    assert said(found).startswith("Obc 2 bits lowers the AUC among the canaries.")
    assert "obc 2 bits lowers it by 0.402 (" in said(found)


def test_several_tests_on_the_slice_are_counted_together(made_up: MadeUp) -> None:
    leaks, canaries = ({**each, "obc-1": each["obc-2"]} for each in (LEAKS, PROTECTED))
    found = shown(made_up(leaks, slices={"canaries": canaries}))
    assert said(found).startswith(
        "With all 2 tests on this slice counted, obc 2 bits and obc 1 bit lower the AUC among the canaries."
    )


def test_one_target_says_nothing_of_the_worst_case_in_others(made_up: MadeUp) -> None:
    one = {name: values[:1] for name, values in PROTECTED.items()}
    found = shown(made_up({name: values[:1] for name, values in LEAKS.items()}, slices={"canaries": one}))
    assert said(found) == "One target says nothing of the canaries in other targets."


def test_the_area_among_the_worst_slice_stands_with_its_interval_and_its_attacker(made_up: MadeUp) -> None:
    areas = {"none-32": [0.90, 0.91, 0.92, 0.93], "obc-2": [0.80, 0.81, 0.82, 0.83]}
    table = shown(made_up(LEAKS, slices={"canaries": GIVEN_AWAY}, areas={"canaries": areas})).values["table"]
    assert table.heads[-2:] == ("AUC among canaries", "Change of that AUC")
    assert [row.cells[-2].text for row in table.rows] == ["0.915", "0.815"]
    assert all(row.cells[-2].note.endswith(", unaware") for row in table.rows)
    assert [row.cells[-1].text for row in table.rows] == ["–", "−0.100"]
    assert table.rows[1].cells[-1].strong


def test_a_rate_that_rises_for_an_unaware_attacker_is_no_worse_worst_case(made_up: MadeUp) -> None:
    rates = {"none-32": [0.30, 0.31, 0.32, 0.33], "obc-2": [0.40, 0.41, 0.42, 0.43]}
    areas = {"none-32": [0.90, 0.91, 0.92, 0.93], "obc-2": [0.80, 0.81, 0.82, 0.83]}
    found = shown(made_up(LEAKS, slices={"canaries": rates}, areas={"canaries": areas}))
    assert said(found).startswith("Obc 2 bits lowers the AUC among the canaries.")


def test_the_table_has_all_members_and_every_slice_the_worst_first_and_its_change(made_up: MadeUp) -> None:
    slices = {"old": PROTECTED, "class_0": PROTECTED, "not_calibration": PROTECTED, "canaries": GIVEN_AWAY}
    table = shown(made_up(LEAKS, slices=slices)).values["table"]
    own = [head for head in table.heads if not head.endswith("own threshold")]
    assert own == ["Model", "All members", "Canaries (30)", "Old (30)", "AUC among canaries", "Change of that AUC"]
    full, low = ([cell.text.replace("\xa0", " ") for cell in row.cells] for row in table.rows)
    assert full == ["11.5 %", "98.0 %", "98.0 %", "0.980", "–"]
    assert low[:3] == ["7.5 %", "98.0 %", "57.8 %"]
    assert not table.rows[1].cells[-1].strong


def test_without_a_worst_case_the_slices_stand_alone(made_up: MadeUp) -> None:
    found = shown(made_up(LEAKS, slices={"old": PROTECTED}))
    assert found.values["sentences"] == []
    assert found.drawings == ()
    assert found.values["table"].heads == ("Model", "All members", "Old (30)")


def test_the_figure_is_heard_with_both_numbers_of_each_variant(made_up: MadeUp) -> None:
    (drawing,) = shown(made_up(LEAKS, metric="auc", slices={"canaries": PROTECTED})).drawings
    alt = drawing.alt.replace("\xa0", " ")
    assert alt.endswith("among the canaries: Full precision 0.115 and 0.980; obc 2 bits 0.075 and 0.578.")


def test_a_worst_case_whose_area_was_not_measured_is_said_not_to_be(made_up: MadeUp) -> None:
    found = shown(made_up(LEAKS, slices={"canaries": PROTECTED}, areas={}))
    assert said(found) == "The AUC among the canaries was not measured."
    assert found.values["table"].heads == ("Model", "All members", "Canaries (30)")
    assert found.drawings == ()


def test_an_audit_without_slices_or_with_classes_alone_has_no_such_section(made_up: MadeUp) -> None:
    assert section(read_inputs(made_up(LEAKS))[0], Inputs()) is None
    assert section(read_inputs(made_up(LEAKS, slices={"class_0": PROTECTED}))[0], Inputs()) is None
