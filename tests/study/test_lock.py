import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lit_privq.study.lock import Lease, locked, read_lease

ELSEWHERE = Lease("another", "its boot", 7, "token", beat=3)


def leave(root: Path, lease: Lease) -> None:
    (root / ".lease").write_text(json.dumps(asdict(lease)))


def hold(root: Path, beat_seconds: float, then: Callable[[Path], None] = lambda root: None) -> None:
    with locked(root, beat_seconds):
        then(root)


def test_a_folder_that_another_process_works_in_is_refused_by_that_process_number(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from lit_privq.study.lock import locked\n"
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
        with locked(tmp_path, beat_seconds=600):
            assert (tmp_path / ".lock").read_text() == str(os.getpid()), "the lock of a dead process is taken over"
            lease = read_lease(tmp_path)
            assert lease is not None
            assert (lease.host, lease.pid) == (socket.gethostname(), os.getpid())
    assert read_lease(tmp_path) is None, "given back"


def test_a_lease_that_is_renewed_on_another_machine_keeps_this_one_off(tmp_path: Path) -> None:
    leave(tmp_path, ELSEWHERE)
    renewal = threading.Timer(0.1, leave, (tmp_path, replace(ELSEWHERE, beat=4)))
    renewal.start()
    with pytest.raises(ValueError, match=r"another study \(process 7 on another\) is running"):
        hold(tmp_path, 0.2)
    renewal.join()
    assert read_lease(tmp_path) == replace(ELSEWHERE, beat=4)


def test_a_stale_lease_of_another_machine_is_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, ELSEWHERE)
    with locked(tmp_path, beat_seconds=0.01):
        lease = read_lease(tmp_path)
        assert lease is not None
        assert lease.token != ELSEWHERE.token
    assert "process 7 on another holds" in capsys.readouterr().err


def test_a_damaged_lease_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".lease").write_text('{"host": "ano')
    with locked(tmp_path, beat_seconds=600):
        pass


def test_storage_without_locks_has_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    running = rf"another study \(process {os.getpid()} on .*\) is running"
    with locked(tmp_path, beat_seconds=0.05), pytest.raises(ValueError, match=running):
        hold(tmp_path, 0.1)


def halted(root: Path) -> None:
    """Another study takes over, and this one goes on working."""
    leave(root, ELSEWHERE)
    time.sleep(30)


def test_a_study_that_was_halted_and_replaced_stops_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"another study has taken over .* did not renew its lease in time"):
        hold(tmp_path, 0.05, then=halted)
    assert read_lease(tmp_path) == ELSEWHERE, "another's lease is left alone"


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
