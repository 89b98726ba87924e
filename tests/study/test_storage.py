from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.plan import Fleets, plan
from lit_privq.study.storage import bytes_needed, check_space, storage_line
from lit_privq.study.study_file import read_study

FACTS = {"examples": 60_000, "float_bytes": {"": 44_800_000}, "code_bytes": {"": 11_300_000}}


def test_bytes_are_models_times_variants_times_what_each_holds(bench: Any) -> None:
    jobs = plan(read_study(bench.config), Path("runs"), Fleets(3))
    n_quantized = 6 * 2 + 2 * 2  # two variants of everyone, two variants of the targets
    dumps = (6 + n_quantized) * 60_000 * (4 * 18 + 9)
    assert bytes_needed(jobs, FACTS, n_queries=18) == dumps + 6 * 44_800_000 + n_quantized * 11_300_000
    assert bytes_needed([], FACTS, n_queries=18) == 0


def test_a_checkpoint_is_as_large_as_its_recipes_network(bench: Any) -> None:
    bench.add_recipes()
    jobs = plan(read_study(bench.config), Path("runs"), Fleets(3))
    sizes = {"float_bytes": {"": 10, "short": 10, "smooth": 1000}, "code_bytes": {"": 1, "short": 1, "smooth": 100}}
    first, smooth = 6 * (10 + 10) + 6 * (2 + 2) + 2 * 2, 6 * 1000 + 6 * 2 * 100
    assert bytes_needed(jobs, {"examples": 0, **sizes}, n_queries=1) == first + smooth


def test_more_than_is_free_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    check_space(10**6, tmp_path)
    with pytest.raises(ValueError, match=rf"about 1e\+06 GB will be written, but only .* are free at {tmp_path}; make"):
        check_space(10**15, tmp_path / "not/yet/there")


def test_what_is_needed_and_what_is_free_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 * 10**10}))
    assert storage_line(2 * 10**9, tmp_path) == "about 2 GB will be written; 50 GB are free"
