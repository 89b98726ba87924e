from __future__ import annotations

from pathlib import Path

import pytest

from lit_privq.study.fleet_size import choose


def test_the_size_of_a_fleet_is_measured_and_bounded_by_memory(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose(conf / "shadow/digits.yaml", [], jobs=2)
    assert 1 <= chosen["size"] <= 3
    assert chosen["how"] == ("grouped" if chosen["size"] > 1 else "alone")
    assert "ms" in chosen["why"]
    monkeypatch.setattr("lit_privq.study.fleet_size._free_memory", lambda: 1)
    chosen = choose(conf / "shadow/digits.yaml", [], jobs=2)
    assert chosen["size"] == 1
    assert "memory holds 1" in chosen["why"]
