from __future__ import annotations

from pathlib import Path

from lit_privq.artifacts.variant import Variant
from lit_privq.tracking.records import (
    StageRecord,
    add_row,
    add_summary,
    read_stage,
    record_path,
    recorded,
    start_record,
)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = record_path(tmp_path, "obc-2", 7, "quantize")
    start_record(path, StageRecord({"net": "small"}, {"trainer": {"devices": 1}}, ({"epoch": 0, "train/loss": 2.5},)))
    add_row(path, {"epoch": 1, "train/loss": 1.5})
    add_summary(path, {"test/accuracy": 0.5})
    assert read_stage(path) == StageRecord(
        {"net": "small"},
        {"trainer": {"devices": 1}},
        ({"epoch": 0, "train/loss": 2.5}, {"epoch": 1, "train/loss": 1.5}),
        {"test/accuracy": 0.5},
    )


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    path = record_path(tmp_path, "none-32", 0, "train")
    start_record(path, StageRecord({"net": "small"}))
    add_row(path, {"epoch": 0})
    with path.open("ab") as file:
        file.write(b'{"history": {"epoch": 1, "tra')
    assert read_stage(path) == StageRecord({"net": "small"}, {}, ({"epoch": 0},))


def test_a_new_start_replaces_the_old_record(tmp_path: Path) -> None:
    path = record_path(tmp_path, "none-32", 0, "train")
    start_record(path, StageRecord())
    add_row(path, {"epoch": 0})
    start_record(path, StageRecord())
    assert read_stage(path).history == ()


def test_all_records_are_found_by_variant_model_and_stage_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    for variant, model, stage in [("none-32@dp", 3, "train"), ("none-32@dp", 3, "query"), ("obc-2~1", 12, "quantize")]:
        start_record(record_path(tmp_path, variant, model, stage), StageRecord())
    start_record(record_path(tmp_path, "obc-2~1", 12, "nonsense"), StageRecord())
    found = recorded(tmp_path)
    assert {(variant.name, model): sorted(stages) for (variant, model), stages in found.items()} == {
        ("none-32@dp", 3): ["query", "train"],
        ("obc-2~1", 12): ["quantize"],
    }
    assert (Variant.parse("obc-2~1"), 12) in found
