from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.plan import Fleets, plan
from lit_privq.study.storage import bytes_needed, storage_line
from lit_privq.study.study_file import read_study


def test_bytes_are_models_times_variants_times_what_each_holds(bench: Any) -> None:
    bench.change("data/tiny.yaml", "n_shadows: 4", "dataset: {class_path: x.CIFAR10}\nn_queries: 18")
    bench.change("shadow/tiny.yaml", "small.small_resnet", "resnet.resnet18")
    study = read_study(bench.config)
    n_models = 6 * 3 + 2 * 2  # full precision and two variants of everyone, two variants of the targets
    assert bytes_needed(study, plan(study, Path("runs"), Fleets(3, 2))) == n_models * (
        60_000 * (4 * 18 + 9) + 4 * 11_200_000
    )
    assert bytes_needed(study, []) == 0


def test_74_models_at_ten_precisions_and_18_queries_fit_in_four_gigabytes(bench: Any) -> None:
    bench.change("data/tiny.yaml", "n_shadows: 4", "dataset: {class_path: x.CIFAR10}\nn_queries: 18")
    bench.change("study/tiny.yaml", "n_shadows: 4", "n_shadows: 64")
    bench.change("study/tiny.yaml", "n_targets: 2", "n_targets: 10")
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [8, 7, 6, 5, 4, 3, 2, 1.58, 1]")
    study = read_study(bench.config)
    jobs = [job for job in plan(study, Path("runs"), Fleets(3, 2)) if not any("adaround" in o for o in job.outputs)]
    assert sum(path.startswith("confidence/") for job in jobs for path in job.outputs) == 740
    assert bytes_needed(study, jobs) == 740 * 60_000 * (4 * 18 + 9) < 4e9
    assert storage_line(bytes_needed(study, jobs), Path("/")).startswith("about 3.6 GB will be written")


def test_little_is_not_worth_a_line_and_too_much_is(tmp_path: Path) -> None:
    assert storage_line(10**6, tmp_path) == ""
    assert storage_line(10**15, tmp_path / "not/yet/there").endswith(f"are free at {tmp_path}; make room")


def test_more_than_a_gigabyte_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 * 10**10}))
    assert storage_line(2 * 10**9, tmp_path) == "about 2 GB will be written; 50 GB are free"
