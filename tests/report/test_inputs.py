from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.results import Results, read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import AttackScores, read_scores

FULL = Variant("none", 32, 32)


@pytest.fixture
def results(study: Path) -> Results:
    return read_results(study / "results.csv")


def test_rates_count_the_non_members_that_score_as_high() -> None:
    scores = np.array([[5.0, 3.0, 3.0, 1.0]])
    members = np.array([[True, False, True, False]])
    rates = AttackScores(np.array([9]), members, scores).rates()
    np.testing.assert_allclose(rates, [[1 / 3, 2 / 3, 2 / 3, 3 / 3]])


def test_scores_are_found_by_variant_and_attacker(study: Path, results: Results) -> None:
    scores = read_scores(study, results, FULL, "unaware", "threshold")
    assert scores is not None
    assert scores.scores.shape == scores.members.shape == (4, 1200)


def test_a_plain_audit_keeps_its_scores_in_one_file(study: Path, results: Results, tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes((study / "audit/none-32/unaware.npz").read_bytes())
    alone = Results("mine", "", {key: cells for key, cells in results.series.items() if key.variant == FULL})
    assert read_scores(tmp_path, alone, FULL, "unaware", "threshold") is not None
    assert (
        read_scores(tmp_path, results, FULL, "unaware", "threshold") is None
    )  # one file cannot speak for eight variants


def test_an_attack_that_was_not_kept_is_none(study: Path, results: Results) -> None:
    assert read_scores(study, results, FULL, "unaware", "unheard_of") is None


def test_damaged_scores_say_what_to_run(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "audit" / "none-32" / "unaware.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ValueError, match="run `audit` again"):
        read_scores(tmp_path, results, FULL, "unaware", "threshold")


def test_members_must_be_boolean(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "audit" / "none-32" / "unaware.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, targets=np.arange(1), members=np.ones((1, 4)), threshold=np.ones((1, 4)))
    with pytest.raises(ValueError, match="boolean members"):
        read_scores(tmp_path, results, FULL, "unaware", "threshold")


@pytest.mark.parametrize(("content", "message"), [("{", "must be JSON"), ("[1]", "got list")])
def test_a_damaged_study_json_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_json(path)


def test_a_missing_study_json_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "study.json") == {}
