from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.scores import read_scores, scores_path, write_scores

MEMBERS = np.array([[True, False, True], [False, True, True]])


def written(folder: Path) -> Path:
    path = scores_path(folder, "obc-2", "adaptive")
    write_scores(path, np.array([8, 9]), MEMBERS, {"threshold": np.arange(6.0).reshape(2, 3), "base": np.zeros((2, 3))})
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = read_scores(written(tmp_path), "threshold")
    assert found is not None
    assert found.targets.tolist() == [8, 9]
    np.testing.assert_array_equal(found.members, MEMBERS)
    np.testing.assert_array_equal(found.scores, [[0, 1, 2], [3, 4, 5]])


def test_an_attack_or_a_file_that_was_not_kept_is_none(tmp_path: Path) -> None:
    assert read_scores(written(tmp_path), "unheard_of") is None
    assert read_scores(scores_path(tmp_path), "threshold") is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"])
def test_a_damaged_file_says_what_to_run(content: bytes, tmp_path: Path) -> None:
    path = scores_path(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scores\.npz must hold scores, targets and members; .*run `audit` again"):
        read_scores(path, "threshold")


@pytest.mark.parametrize("members", [np.ones((1, 4)), np.ones((1, 3), bool)])
def test_members_must_be_boolean_and_shaped_as_the_scores(members: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "scores.npz", targets=np.arange(1), members=members, threshold=np.ones((1, 4)))
    with pytest.raises(ValueError, match="boolean members shaped as the scores"):
        read_scores(tmp_path / "scores.npz", "threshold")
