from __future__ import annotations

from pathlib import Path

import pytest
import torch

from callbacks.checkpoints import write_checkpoint

MADE = {"lit_privq": {"variant": "adaround-1.58-last8", "index": 7}, "state_dict": {"w": torch.ones(2)}}


def test_a_checkpoint_is_filed_by_variant_and_index(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, MADE)
    assert path == tmp_path / "adaround-1.58-last8/007.ckpt"
    assert torch.load(path, weights_only=True)["lit_privq"] == MADE["lit_privq"]
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path, MADE)
    before = path.read_bytes()

    def full_disk(_: object, file: Path) -> None:
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, MADE)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_training_leaves_no_resting_point_and_no_part_of_a_file(study: Path) -> None:
    files = [path for path in (study / "checkpoints").rglob("*") if path.is_file()]
    assert len(files) == 6 * 7  # models, full precision and two methods at three precisions
    assert {path.suffix for path in files} == {".ckpt"}
    assert not [path for path in files if path.name.startswith(".")]
