from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lit_privq.artifacts.results import Key
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.glance import section, table
from lit_privq.report.view import View
from lit_privq.report.words import percent


def test_a_row_has_accuracy_and_leakage_of_its_variant(seen: View) -> None:
    found = table(seen)
    variant = seen.results.variants[2]
    (row,) = (row for row in found.rows if row.name == seen.label(variant))
    useful, leak = seen.useful(variant), seen.leak(variant)
    assert useful is not None
    assert leak is not None
    assert found.heads[:3] == ("Model", "Accuracy", "TPR at 1\xa0% FPR")
    assert [cell.text for cell in row.cells[:2]] == [seen.utility.text(useful.value), percent(leak.value)]


def test_models_that_only_guess_have_no_row(seen: View) -> None:
    guess = seen.results.variants[3]
    focus = replace(seen.focus, guessing=(guess.name,))
    found = table(replace(seen, measures=replace(seen.measures, focus=focus)))
    assert [row.name for row in found.rows] == [seen.label(v) for v in seen.results.variants if v != guess]


def test_the_attacker_who_holds_the_parent_has_a_column_where_the_audit_knows_one(
    seen: View, seen_with: Callable[..., View]
) -> None:
    assert "Attacker holds the parent" not in table(seen).heads
    variant = seen.results.variants[1]
    leak = seen.leak(variant)
    assert leak is not None
    paired = Key(variant, seen.metric, "paired", seen.attack)
    found = table(seen_with(means=seen.measures.means | {paired: replace(leak, value=0.321)}))
    assert found.heads[-1] == "Attacker holds the parent"
    assert [row.cells[-1].text for row in found.rows[:2]] == ["–", percent(0.321)]


def test_a_worst_case_that_only_the_unaware_met_is_marked_and_has_its_area_beside_it(
    made_up: Callable[..., Path],
) -> None:
    leaks = {"none-32": [0.30, 0.31, 0.32], "obc-2": [0.40, 0.41, 0.42]}
    areas = {"none-32": [0.90, 0.91, 0.92], "obc-2": [0.80, 0.81, 0.82]}
    found = table(read_inputs(made_up(leaks, slices={"canaries": leaks}, areas={"canaries": areas}))[0])
    worst, area = (found.heads.index(head) - 1 for head in ("Worst case", "AUC among canaries"))
    cells = [row.cells[worst] for row in found.rows]
    assert [(cell.text, cell.note) for cell in cells] == [("31.0\xa0%", ""), ("41.0\xa0%", "unaware")]
    assert [row.cells[area].text for row in found.rows] == ["0.910", "0.810"]


def test_a_single_model_needs_no_table_of_comparison(
    write_view: Callable[..., View],
) -> None:
    view = write_view({"method": "none", "bits": 32, "attack": "threshold", "metric": "tpr_at_0.01", "value": 0.1})
    assert section(view, Inputs()) is None
