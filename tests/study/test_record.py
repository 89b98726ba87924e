from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.record import find, read_record, study_record, write_record
from lit_privq.study.study_file import read_study


def test_a_record_is_read_as_it_was_written_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_record(tmp_path, {"choices": {"size": 3}})
    assert read_record(tmp_path) == {"choices": {"size": 3}}
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    assert read_record(tmp_path) == {}


def test_the_first_start_is_remembered(bench: Any) -> None:
    study = read_study(bench.config)
    assert study_record(study, "again", {"started": "long ago"})["started"] == "long ago"


def test_a_data_set_without_a_config_of_its_own_is_named_by_its_class(bench: Any) -> None:
    bench.change("shadow/tiny.yaml", "data: ../data/tiny.yaml", "data: {dataset: {class_path: a.b.Digits}}")
    record = study_record(read_study(bench.config), "", {})
    assert (record["dataset"], record["net"]) == ("digits", "small_resnet")


def test_a_key_is_found_at_any_depth() -> None:
    tree = {"a": [{"b": 1}, {"net": {"class_path": "x.y"}}], "c": {"net": 2}}
    assert find(tree, "net") == {"class_path": "x.y"}
    assert find(tree, "z") is None


def test_a_method_is_written_as_its_class_where_both_have_one_name(bench: Any) -> None:
    plain = "model: {class_path: Calibration}"
    for config, owner in (("nearest", "lit_privq.quantization.OBC"), ("adaround", "lit_privq.quantization.AdaRound")):
        init = f"{{method: {{class_path: {owner}}}}}"
        bench.change(f"ptq/{config}.yaml", plain, f"model: {{class_path: Calibration, init_args: {init}}}")
    record = study_record(read_study(bench.config), "", {})
    assert record["titles"] == {"adaround": "AdaRound"}  # a row called nearest is not shown as OBC
