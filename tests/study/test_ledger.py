import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import lit_privq.study.ledger
from lit_privq.study.ledger import Ledger, file_stamp, locked
from lit_privq.study.plan import Job

TRAIN = Job("train", "train", ("fit",), inputs=(), outputs=("a.ckpt", "b.ckpt"), recipe="r")
QUERY = Job("query", "query", ("predict",), inputs=("a.ckpt",), outputs=("a.npz",), recipe="r", needs=("train",))


def run(ledger: Ledger, job: Job, content: str = "content") -> None:
    """Write a job's outputs and record it."""
    for path in job.outputs:
        (ledger.root / path).write_text(content)
    ledger.add(job, {path: file_stamp(ledger.root / path) for path in job.outputs}, seconds=1.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    run(ledger, TRAIN)
    run(ledger, QUERY)
    return ledger


def test_a_recorded_job_is_finished_at_the_next_start(ledger: Ledger) -> None:
    assert Ledger(ledger.root).unfinished([TRAIN, QUERY]) == {}
    assert len((ledger.root / "jobs.jsonl").read_text().splitlines()) == 2


def test_a_job_that_was_never_run_is_new(tmp_path: Path) -> None:
    assert Ledger(tmp_path).unfinished([TRAIN, QUERY]) == {"train": "new", "query": "waiting"}


def test_a_job_with_another_recipe_or_other_outputs_has_changed(ledger: Ledger) -> None:
    assert ledger.reason(replace(QUERY, recipe="other")) == "changed"
    assert ledger.reason(replace(QUERY, outputs=("a.npz", "b.npz"))) == "changed"


def test_another_version_of_the_package_repeats_every_job(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lit_privq.study.ledger, "__version__", "9.9")
    assert ledger.unfinished([TRAIN]) == {"train": "changed"}


def test_a_job_is_repeated_if_its_input_was_written_anew_and_differs(ledger: Ledger) -> None:
    run(ledger, TRAIN)
    assert ledger.is_finished(QUERY), "the same content again"
    run(ledger, TRAIN, content="another")
    assert ledger.reason(QUERY) == "changed"


def test_an_input_is_judged_by_the_job_that_wrote_it_last(ledger: Ledger) -> None:
    other_deal = Job("train-0", "train", ("fit",), inputs=(), outputs=("a.ckpt",), recipe="r")
    run(ledger, other_deal, content="another")
    assert ledger.reason(QUERY) == "changed"
    run(ledger, TRAIN)
    assert Ledger(ledger.root).is_finished(QUERY)


@pytest.mark.parametrize("content", ["", "longer content", "CONTENT"])
def test_a_damaged_output_is_found(ledger: Ledger, content: str) -> None:
    (ledger.root / "b.ckpt").write_text(content)
    os.utime(ledger.root / "b.ckpt", ns=(1, 1))
    assert Ledger(ledger.root).reason(TRAIN) == "b.ckpt is damaged"


def test_a_missing_output_is_found(ledger: Ledger) -> None:
    (ledger.root / "b.ckpt").unlink()
    assert Ledger(ledger.root).reason(TRAIN) == "b.ckpt is damaged"


def test_a_touched_output_is_read_and_found_intact(ledger: Ledger) -> None:
    os.utime(ledger.root / "b.ckpt", ns=(1, 1))
    assert Ledger(ledger.root).is_finished(TRAIN)


def test_damage_that_leaves_size_and_time_alone_is_found_when_asked_for(ledger: Ledger) -> None:
    path = ledger.root / "b.ckpt"
    time = path.stat().st_mtime_ns
    path.write_text("kontent")
    os.utime(path, ns=(time, time))
    assert Ledger(ledger.root).is_finished(TRAIN)
    assert Ledger(ledger.root, verify=True).reason(TRAIN) == "b.ckpt is damaged"


@pytest.mark.parametrize("n_bytes", [1, 20, 60])
def test_a_torn_last_line_costs_only_its_own_job(ledger: Ledger, n_bytes: int) -> None:
    path = ledger.root / "jobs.jsonl"
    path.write_bytes(path.read_bytes()[:-n_bytes])
    again = Ledger(ledger.root)
    if n_bytes > 1:  # the newline alone may go: the record is whole
        assert again.unfinished([TRAIN, QUERY]) == {"query": "new"}
        run(again, QUERY)
    run(again, replace(TRAIN, name="other", outputs=("c.ckpt",)))
    assert set(Ledger(ledger.root).records) == {"train", "query", "other"}


def test_a_line_that_is_no_record_is_skipped(ledger: Ledger) -> None:
    path = ledger.root / "jobs.jsonl"
    first, last = path.read_text().splitlines()
    path.write_text(f'{first}\n17\n{{"name": "x"}}\n\x00\x00\n{last}\n')
    assert set(Ledger(ledger.root).records) == {"train", "query"}


def test_a_folder_that_another_process_works_in_is_refused_by_that_process_number(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from lit_privq.study.ledger import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=rf"another study \(process {other.pid}\) is running"), locked(tmp_path):
            pass
        other.kill()
        other.wait()
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid()), "the lock of a dead process is taken over"


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*; choose another --output"), locked(tmp_path / "file/runs"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said_in_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot write to .*denied.*; choose another --output"), locked(tmp_path):
        pass
    tmp_path.chmod(0o700)
