from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.record import read_record, study_record, write_record
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
    options = Namespace(config=bench.config, engine="local", data_root=None)
    assert study_record(study, options, "again", {"started": "long ago"})["started"] == "long ago"
