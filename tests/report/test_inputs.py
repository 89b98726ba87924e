import shutil
from pathlib import Path
from typing import Any

import pytest

from lit_privq.artifacts.json_file import read_json
from lit_privq.report.inputs import read_inputs


def test_the_strongest_attackers_scores_are_found(study: Path) -> None:
    view, inputs = read_inputs(study)
    assert set(inputs.scores) == set(view.results.variants)
    assert all(found.scores.shape == found.members.shape == (4, 1200) for found in inputs.scores.values())


def test_a_plain_audit_keeps_its_scores_in_one_file(study: Path, tmp_path: Path, conclude: Any) -> None:
    for name in ("results.csv", "metrics.json"):
        shutil.copy(study / name, tmp_path)
    shutil.copy(study / "audit" / "none-32" / "unaware.npz", tmp_path / "scores.npz")
    assert read_inputs(tmp_path)[1].scores == {}  # one file cannot speak for eight variants
    header, *lines = (study / "results.csv").read_text().splitlines()
    (tmp_path / "results.csv").write_text("\n".join([header, *(line for line in lines if ",none," in line)]))
    conclude(tmp_path)
    assert len(read_inputs(tmp_path)[1].scores) == 1


@pytest.mark.parametrize(("content", "message"), [("{", "must be JSON"), ("[1]", "got list")])
def test_a_damaged_study_json_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_json(path)


def test_a_missing_study_json_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "study.json") == {}
