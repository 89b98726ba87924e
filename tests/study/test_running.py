from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lit_privq.study.running import forget_ended, noted, read_notes

WAITS = """
import sys, time
from pathlib import Path
from lit_privq.study.running import noted

with noted(Path(sys.argv[1]), "train-000"):
    print("begun", flush=True)
    time.sleep(600)
"""


def test_a_job_is_noted_while_it_runs_and_forgotten_when_it_ends_well(tmp_path: Path) -> None:
    with noted(tmp_path, "train-000"):
        (note,) = read_notes(tmp_path)
        assert (note.name, note.pid, note.state) == ("train-000", os.getpid(), "running")
    assert read_notes(tmp_path) == []


def test_a_job_that_fails_leaves_its_reason(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), noted(tmp_path, "train-000"):
        raise RuntimeError("the device\nis on fire")
    (note,) = read_notes(tmp_path)
    assert (note.state, note.error) == ("failed", "RuntimeError: the device is on fire")


def test_a_job_whose_process_was_killed_is_lost_and_a_new_start_forgets_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        (note,) = read_notes(tmp_path)
        assert (note.pid, note.state) == (process.pid, "running")
        forget_ended(tmp_path)
        assert read_notes(tmp_path) == [note]
        process.send_signal(signal.SIGKILL)
    (note,) = read_notes(tmp_path)
    assert note.state == "lost"
    forget_ended(tmp_path)
    assert read_notes(tmp_path) == []


def test_a_later_process_of_the_same_number_is_not_taken_for_the_job(tmp_path: Path) -> None:
    with noted(tmp_path, "train-000"):
        (note,) = read_notes(tmp_path)
        if note.born:
            assert replace(note, born="1").state == "lost"
        assert replace(note, host="another").state == "elsewhere"


def test_a_note_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    with noted(tmp_path, "train-000"):
        (note,) = read_notes(tmp_path)
        (tmp_path / "running/other.json").write_text('{"name": "oth')
        (tmp_path / "running/more.json").write_text(json.dumps(asdict(note) | {"more": 1}))
        assert read_notes(tmp_path) == [note]
