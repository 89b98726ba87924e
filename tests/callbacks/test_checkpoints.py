from __future__ import annotations

from pathlib import Path


def test_training_leaves_no_resume_checkpoint_and_no_part_of_a_file(study: Path) -> None:
    files = [path for path in (study / "checkpoints").rglob("*") if path.is_file()]
    assert len(files) == 6 * 7  # models, full precision and two methods at three precisions
    assert {path.suffix for path in files} == {".ckpt"}
    assert not [path for path in files if path.name.startswith(".")]
