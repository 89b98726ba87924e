"""What `study status` says while a study runs, after it ended and after a crash."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.command import main as main_of_study
from lit_privq.study.lock import locked
from lit_privq.study.status import last_line, main, read_status
from tests.study.conftest import HOOKS


def said(root: Path) -> str:
    return "\n".join(read_status(root).lines())


def wait_for(path: Path) -> str:
    """The content of a file, once it is there."""
    deadline = time.monotonic() + 60
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.05)
    return path.read_text()


def test_a_finished_study_is_done_with_time_and_disk_of_each_stage(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.study()
    capsys.readouterr()
    main([str(bench.output)])
    first, header, *stages, left = capsys.readouterr().out.splitlines()
    assert first == f"{bench.output}: tiny, finished"
    assert header.split() == ["done", "stale", "time", "disk"]
    assert [line.split()[:2] for line in stages] == [
        ["train", "6/6"], ["quantize", "16/16"], ["query", "22/22"], ["audit", "1/1"], ["report", "1/1"],
    ]  # fmt: skip
    assert all(re.search(r"\d s .* \d+ [kM]?B$", line) for line in stages), stages
    assert left == "done"


def test_while_a_study_runs_its_status_says_which_job_runs_where_and_since_when(bench: Any) -> None:
    bench.order(["predict", "sleep"])
    process = bench.start()
    try:
        pid = wait_for(bench.folder / "sleeping.txt")
        found = said(bench.output)
        assert f"led by process {process.pid} on " in found
        assert re.search(rf"running: query-none-32-\S+, process {pid}, since \d\d:\d\d:\d\d \(\d+ s\)", found)
        assert re.search(r"(more than|about|unknown) .*worker", found)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def test_after_a_crash_the_lost_job_is_named_with_its_log_and_the_rest_counted(bench: Any) -> None:
    bench.order(["predict", "sleep"])
    process = bench.start()
    wait_for(bench.folder / "sleeping.txt")
    record = bench.output / "study.json"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while "lost, its process is gone: query-none-32-" not in (found := said(bench.output)):
        assert time.monotonic() < deadline, found  # workers end when they notice that their study is gone
        time.sleep(0.1)
    assert re.search(r"begun at [\d:]+: it said nothing \(see .*logs/query-none-32-\S+\.log\)", found)
    assert found.endswith(f"this goes on, in {Path.cwd()}:\n  {json.loads(record.read_text())['command']}")
    assert re.search(r"runs: tiny, not running: process \d+, which led it, is gone\n", found)
    assert re.search(r"train +[36]/6", found)
    bench.study()
    assert "lost, its process" not in said(bench.output)
    assert said(bench.output).endswith("done")


def test_a_failed_job_is_named_with_its_last_error_and_its_log(bench: Any) -> None:
    bench.order(["--ckpt_path", "always fail"])
    with pytest.raises(SystemExit):
        bench.study()
    found = said(bench.output)
    assert re.search(
        r"failed: query-nearest-4-\S+, begun at [\d:]+: RuntimeError: the device is on fire \(see .*\.log\)", found
    )
    assert "query            0/22" in found
    assert "not running" in found


def test_what_a_change_makes_stale_is_counted_and_named_with_the_reason(bench: Any) -> None:
    bench.study()
    (bench.folder / "configs/query/tiny.yaml").write_text("data: ../data/tiny.yaml\nmodel: {logits: true}\n")
    found = said(bench.output)
    assert re.search(r"query\s+0/22\s+22", found)
    assert re.search(r"query-none-32-000-002 is stale because changed: its config", found)
    assert "more are stale; `study --dry_run` lists all" not in found
    assert re.search(r"^(about|more than) .* left, with", found, re.MULTILINE)


def test_asking_changes_nothing(bench: Any) -> None:
    bench.study()
    before = {path: path.stat().st_mtime_ns for path in bench.output.rglob("*") if path.is_file()}
    said(bench.output)
    assert {path: path.stat().st_mtime_ns for path in bench.output.rglob("*") if path.is_file()} == before


def test_a_folder_without_a_study_and_a_study_from_elsewhere_are_refused(bench: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no started study in .*; give the --output of a study"):
        read_status(tmp_path)
    with locked(tmp_path), pytest.raises(ValueError, match=r"has no plan yet, as its data are still being looked at"):
        read_status(tmp_path)
    bench.study()
    record = json.loads((bench.output / "study.json").read_text())
    (bench.output / "study.json").write_text(json.dumps(record | {"config": "nowhere/tiny.yaml"}))
    with pytest.raises(FileNotFoundError, match=r"made from .*/nowhere/tiny.yaml, which is not there; put it back"):
        read_status(bench.output)


def test_from_any_folder_the_status_is_that_of_the_folder_where_the_study_was_started(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    main_of_study(["--config", "configs/study/tiny.yaml", "--output", "runs", "--jobs", "2"], HOOKS)
    (bench.output / "results.csv").unlink()
    here, kept = said(Path("runs")), list(sys.path)
    assert "audit is stale because results.csv is damaged" in here
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in kept if path != str(bench.folder)])
    found = said(Path("bench/runs"))
    assert found.replace(f"{tmp_path}/bench/", "") == here, "a study that is stale for a module that it names, say"
    assert Path.cwd() == tmp_path
    assert str(bench.folder) not in sys.path


def test_a_leader_that_was_not_heard_of_is_not_taken_for_alive(bench: Any) -> None:
    bench.study()
    lease = {"host": "elsewhere", "machine": "another", "pid": 1, "token": "x", "beat": 7}
    path = bench.output / ".lease"
    path.write_text(json.dumps(lease))
    assert said(bench.output).splitlines()[0].endswith("tiny, led by process 1 on elsewhere")
    os.utime(path, (time.time() - 7200,) * 2)
    assert "led by process 1 on elsewhere, last heard of 2 h 0 min ago" in said(bench.output)


def test_the_last_line_of_a_log_is_what_a_terminal_shows(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_line(log) == ""
    log.write_text("one\ntwo  10%\rtwo 100%\n\n")
    assert last_line(log) == "two 100%"
