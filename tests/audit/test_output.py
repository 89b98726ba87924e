from __future__ import annotations

from pathlib import Path

import pytest

from lit_privq.audit.output import replacing


def write(folder: Path, *names: str, text: str = "new") -> None:
    with replacing(folder) as output:
        for name in names:
            output.path(name).parent.mkdir(parents=True, exist_ok=True)
            output.path(name).write_text(text)


def left(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_replaced_before_everything_is_written(tmp_path: Path) -> None:
    write(tmp_path, "scores.npz", "metrics.json", text="old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path) as output:
        output.path("scores.npz").write_bytes(output.path("nothing").read_bytes())
    assert left(tmp_path) == {"scores.npz": "old", "metrics.json": "old"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_scores_that_a_new_audit_does_not_make_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    write(tmp_path, "scores.npz", "audit/none-32/unaware.npz", "audit/obc-2/paired.npz", "mine.npz", "audit/my.npz")
    write(tmp_path, "audit/none-32/unaware.npz", text="newer")
    assert left(tmp_path) == {"audit/none-32/unaware.npz": "newer", "mine.npz": "new", "audit/my.npz": "new"}


def test_pictures_of_what_an_earlier_audit_exposed_do_not_outlive_it(tmp_path: Path) -> None:
    (tmp_path / "exposed.npz").write_text("old")
    write(tmp_path, "metrics.json")
    assert left(tmp_path) == {"metrics.json": "new"}


def test_what_a_killed_audit_left_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".audit.part").mkdir()
    (tmp_path / ".audit.part" / "scores.npz").write_text("half")
    write(tmp_path, "metrics.json")
    assert left(tmp_path) == {"metrics.json": "new"}
