from pathlib import Path

import pytest

from lit_privq.artifacts.atomic import atomic_write_bytes


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures" / "a.svg"
    atomic_write_bytes(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic_write_bytes(path, b"new")
    assert [(each.name, each.read_bytes()) for each in path.parent.iterdir()] == [("a.svg", b"old")]
