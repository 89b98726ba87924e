"""One job of a study at a time, by whatever runs commands."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study import job
from lit_privq.study.tasks import Hooks


@pytest.fixture
def hooks() -> Hooks:
    return Hooks(run="fake_run:run", choose="fake_run:choose", facts="fake_run:facts")


@pytest.fixture(autouse=True)
def as_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delitem(sys.modules, "fake_run", raising=False)  # another bench's


def commands(bench: Any, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """What a dry run prints, without ``python -m lit_privq job``."""
    capsys.readouterr()
    bench.study("--dry_run")
    return [shlex.split(line)[4:] for line in capsys.readouterr().out.splitlines()]


def test_a_study_whose_printed_commands_were_run_is_finished_and_the_same(
    bench: Any, new_bench: Any, hooks: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = new_bench("undisturbed")
    undisturbed.start().communicate(timeout=60)
    for argv in commands(bench, capsys):
        job.main(argv, hooks)
    n_calls = len(bench.calls())
    capsys.readouterr()
    bench.study()
    assert "15 of 15 jobs are finished" in capsys.readouterr().err
    assert len(bench.calls()) == n_calls
    assert bench.results() == undisturbed.results()
    assert json.loads((bench.output / "study.json").read_text())["dataset"] == "Tiny"


def test_a_job_that_is_finished_is_not_done_again(bench: Any, hooks: Hooks, capsys: pytest.CaptureFixture[str]) -> None:
    first = commands(bench, capsys)[0]
    job.main(first, hooks)
    job.main(first, hooks)
    assert "train-000-002 is finished" in capsys.readouterr().out
    assert len(bench.calls()) == 1


def test_a_job_of_a_started_study_needs_only_its_name_and_makes_only_what_is_missing(bench: Any, hooks: Hooks) -> None:
    bench.study()
    (bench.output / "checkpoints/none-32/001.ckpt").unlink()
    n_calls = len(bench.calls())
    receipts = {path: path.stat().st_mtime_ns for path in bench.output.glob("checkpoints/nearest-4/*")}
    job.main(["train-000-002", "--output", str(bench.output)], hooks)
    assert len(bench.calls()) == n_calls + 1
    assert {path: path.stat().st_mtime_ns for path in receipts} == receipts
    job.main(["query-nearest-4-000-002", "--output", str(bench.output)], hooks)
    assert len(bench.calls()) == n_calls + 1, "the same content again"


def test_a_job_whose_needs_are_not_finished_is_refused(
    bench: Any, hooks: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = next(argv for argv in commands(bench, capsys) if argv[0] == "query-none-32-003-005")
    with pytest.raises(
        ValueError, match=r"needs checkpoints/none-32/003.ckpt, which is not finished; run the job train-0"
    ):
        job.main(argv, hooks)
    assert bench.calls() == []


def test_an_unknown_job_is_refused_with_a_name_that_there_is(bench: Any, hooks: Hooks) -> None:
    bench.study()
    with pytest.raises(ValueError, match=r"there is no job train-7 in the study of .* such as train-000-002"):
        job.main(["train-7", "--output", str(bench.output)], hooks)


def test_a_folder_without_a_study_is_refused(tmp_path: Path, hooks: Hooks) -> None:
    with pytest.raises(ValueError, match=r"does not say which study file it belongs to; add --config"):
        job.main(["train-000-002", "--output", str(tmp_path)], hooks)


def test_a_job_measures_no_fleets(bench: Any, hooks: Hooks, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs side by side would find different sizes, and so different names."""
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: auto")
    with pytest.raises(
        ValueError, match=r"not chosen yet for these configs; add --fleet as `study --dry_run` prints it"
    ):
        job.main(["train-000-002", "--output", str(bench.output), "--config", str(bench.config)], hooks)
    job.main(commands(bench, capsys)[0], hooks)
    assert len(bench.calls()) == 1
