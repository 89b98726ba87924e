from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lit_privq.artifacts.results import Key
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.glance import section, tables
from lit_privq.report.table import PageTable
from lit_privq.report.view import View

MadeUp = Callable[..., Path]


def texts(table: PageTable) -> dict[str, list[str]]:
    return {row.name: [cell.text for cell in row.cells] for row in table.rows}


def test_methods_are_rows_and_precisions_columns_from_the_highest_beside_full_precision(seen: View) -> None:
    title, table = tables(seen)["accuracy"]
    assert title == "Test accuracy, %"
    assert table.heads == ("Method", "Full precision", "4 bits", "2 bits", "1.58 bits, last layer 8", "1.58 bits")
    found = {(v.method, v.bits, v.last_bits): one.value for v in seen.shown if (one := seen.useful(v))}
    expected = [
        found.get(cell)
        for cell in [("none", 32, 32), *(("adaround", *each) for each in [(4, 4), (2, 2), (1.58, 8), (1.58, 1.58)])]
    ]
    assert texts(table)["AdaRound"] == [f"{100 * value:.1f}" for value in expected if value is not None]
    assert texts(table)["Nearest"][3] == "–"


def test_leakage_and_the_worst_cases_area_have_a_table_each(made_up: MadeUp) -> None:
    leaks = {"none-32": [0.30, 0.31, 0.32], "obc-2": [0.20, 0.21, 0.22], "obc-1": [0.30, 0.32, 0.31]}
    areas = {"none-32": [0.90, 0.91, 0.92], "obc-2": [0.80, 0.81, 0.82], "obc-1": [0.91, 0.90, 0.92]}
    found = tables(read_inputs(made_up(leaks, slices={"canaries": leaks}, areas={"canaries": areas}))[0])
    assert [title.replace("\xa0", " ") for title, _ in found.values()] == ["TPR at 1 % FPR, %", "AUC among canaries"]
    assert texts(found["leakage"][1]) == {"obc": ["31.0", "21.0", "31.0"]}
    assert texts(found["worst"][1]) == {"obc": ["0.910", "0.810", "0.910"]}
    for _, table in found.values():
        (row,) = table.rows
        assert [cell.strong for cell in row.cells] == [False, True, False]


def test_models_that_only_guess_have_no_number(seen: View) -> None:
    guess = next(variant for variant in seen.results.variants if variant.name == "nearest-1.58")
    focus = replace(seen.focus, guessing=(guess.name,))
    guessing = tables(replace(seen, measures=replace(seen.measures, focus=focus)))
    before, after = (texts(found["accuracy"][1])["Nearest"] for found in (tables(seen), guessing))
    assert (before[-1] != "–", after[-1], after[:-1]) == (True, "–", before[:-1])


def test_each_recipe_has_its_own_full_precision_and_one_that_none_quantized_a_row(made_up: MadeUp) -> None:
    leaks = {"none-32": 0.20, "obc-2": 0.15, "none-32@dp": 0.05, "obc-2@dp": 0.04, "none-32@smooth": 0.30}
    found = tables(read_inputs(made_up({name: [rate] * 3 for name, rate in leaks.items()}, noise=0))[0])
    assert texts(found["leakage"][1]) == {"obc": ["20.0", "15.0"], "Dp, obc": ["5.0", "4.0"], "Smooth": ["30.0", "–"]}


def test_the_attacker_who_holds_the_parent_has_a_table_where_the_audit_knows_one(
    seen: View, seen_with: Callable[..., View]
) -> None:
    assert "parent" not in tables(seen)
    variant = seen.results.variants[1]
    leak = seen.leak(variant)
    assert leak is not None
    paired = Key(variant, seen.metric, "paired", seen.attack)
    title, table = tables(seen_with(means=seen.measures.means | {paired: replace(leak, value=0.321)}))["parent"]
    assert title.endswith("if the attacker holds the parent")
    assert (table.heads, texts(table)) == (("Method", "4 bits"), {"Nearest": ["32.1"]})


def test_a_single_model_needs_no_table_of_comparison(
    write_view: Callable[..., View],
) -> None:
    view = write_view({"method": "none", "bits": 32, "attack": "threshold", "metric": "tpr_at_0.01", "value": 0.1})
    assert section(view, Inputs()) is None
