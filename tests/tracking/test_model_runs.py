from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from lit_privq.tracking.model_runs import read_runs, table_rows
from lit_privq.tracking.records import StageRecord, add_row, record_path, start_record
from tests.tracking.conftest import CANARIES, LEAKS, USEFUL


def test_there_is_one_run_for_each_model_and_variant(finished: Path) -> None:
    runs = read_runs(finished)
    assert runs.name == "little"
    assert [one.name for one in runs.models[:3]] == ["none-32-000", "none-32-001", "none-32-016"]
    assert len({one.name for one in runs.models}) == len(runs.models) == 3 * 6
    assert {one.model: one.job_type for one in runs.models} == {0: "shadow", 1: "shadow"} | dict.fromkeys(
        range(16, 20), "target"
    )


def test_a_targets_numbers_are_the_audits_under_the_same_names_for_every_variant(finished: Path) -> None:
    for one in read_runs(finished).models:
        if one.job_type == "target":
            place, variant = one.model - 16, one.variant.name
            assert one.summary["audit/tpr_at_0.01"] == LEAKS[variant][place]
            assert one.summary["audit/tpr_at_0.01/canaries"] == CANARIES["canaries"][variant][place]
            assert one.summary["test/accuracy"] == USEFUL[variant][place], "the audit's, not the query's"
            assert (one.config["attacker"], one.config["attack"]) == ("unaware", "lira_online_fixed")
        else:
            assert one.summary["test/accuracy"] == 0.75
            assert not [name for name in one.summary if name.startswith("audit/")]
        assert one.summary["size/bytes"] == 1000
        assert ("unit/relative_error" in one.summary) == one.variant.quantized


def test_a_run_says_what_it_is_and_holds_the_configs_of_its_story(finished: Path) -> None:
    quantized = next(one for one in read_runs(finished).models if one.name == "obc-2-016")
    assert quantized.tags == ("digits", "small", "default", "obc", "2 bits")
    assert {key: quantized.config[key] for key in ("study", "method", "bits", "model_index", "recipe", "repeat")} == {
        "study": "little", "method": "obc", "bits": 2, "model_index": 16, "recipe": "default", "repeat": 0,
    }  # fmt: skip
    assert [key for key, value in quantized.config.items() if isinstance(value, dict)] == ["train", "quantize", "query"]
    assert quantized.parent == "none-32-016"


def test_a_study_that_still_runs_shows_what_it_has(tmp_path: Path) -> None:
    path = record_path(tmp_path, "none-32@dp_sgd", 5, "train")
    start_record(path, StageRecord({"dataset": "digits", "net": "small", "n_shadows": 4, "n_targets": 2}))
    add_row(path, {"epoch": 0, "train/loss": 2.0})
    (one,) = read_runs(tmp_path).models
    assert (one.name, one.job_type, one.history, one.tags[2]) == (
        "none-32@dp_sgd-005", "target", ({"epoch": 0, "train/loss": 2.0},), "dp_sgd",
    )  # fmt: skip
    assert one.summary == {}


def test_runs_make_a_table_of_numbers(finished: Path) -> None:
    rows = list(table_rows(read_runs(finished)))
    found = [row["audit/tpr_at_0.01"] for row in rows if row["variant"] == "obc-2" and row["job_type"] == "target"]
    assert mean(found) == pytest.approx(mean(LEAKS["obc-2"]))
    assert not any(isinstance(value, dict) for row in rows for value in row.values())


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; give the --output of a study"):
        read_runs(tmp_path / "nowhere")
