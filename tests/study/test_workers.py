import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_privq.study.workers import Call, Outcome, WorkerPool

FUNCTIONS = """
import os, signal, subprocess, sys, time, warnings

def who(): return os.getpid(), os.environ["OMP_NUM_THREADS"], "torch" in sys.modules

def speak():
    print("from python")
    subprocess.run(["echo", "from a child"], check=True)
    warnings.warn("be careful")

def nap(seconds): time.sleep(seconds)

def die(how): os.kill(os.getpid(), how)

def leave(code): raise SystemExit(code)

def wrong(): raise ValueError("two\\n lines")

def absent(): open("/no/such/file")

def full():
    with open("/dev/full", "w") as file: file.write("more")

def wrapped():
    try:
        full()
    except OSError as error:
        raise RuntimeError("the writer failed") from error

def broken(): raise RuntimeError("the device is on fire")
"""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    with WorkerPool(size=2, environment={"OMP_NUM_THREADS": "1"}) as pool:
        yield pool


def call(pool: WorkerPool, function: str, *arguments: object, log: Path = Path(os.devnull)) -> Outcome:
    return pool.call(Call("task", f"functions:{function}", arguments, log))


def test_a_worker_has_one_thread_no_torch_and_serves_again(pool: WorkerPool) -> None:
    first, second = call(pool, "who").value, call(pool, "who").value
    assert first == second
    assert first[0] != os.getpid()
    assert first[1:] == ("1", False)


def test_whatever_a_task_prints_goes_to_its_log(
    pool: WorkerPool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call(pool, "speak", log=tmp_path / "logs/one.log")
    call(pool, "who", log=tmp_path / "logs/two.log")
    text = (tmp_path / "logs/one.log").read_text()
    assert all(part in text for part in ("from python", "from a child", "be careful"))
    assert (tmp_path / "logs/two.log").read_text() == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "error", "is_final"),
    [
        ("wrong", "two lines", True),
        ("absent", "[Errno 2] No such file or directory: '/no/such/file'", True),
        ("full", "no space is left on the device; make room, then the same command goes on", True),
        ("wrapped", "no space is left on the device; make room, then the same command goes on", True),
        ("broken", "RuntimeError: the device is on fire", False),
        ("missing", "AttributeError: module 'functions' has no attribute 'missing'", False),
    ],
)
def test_an_error_that_only_the_user_can_correct_is_final(
    pool: WorkerPool, function: str, error: str, is_final: bool
) -> None:
    outcome = call(pool, function)
    assert (outcome.error, outcome.is_final) == (error, is_final)


def test_a_command_line_that_does_not_parse_is_final(pool: WorkerPool) -> None:
    assert call(pool, "leave", 2).is_final
    assert not call(pool, "leave", 0).error


def test_a_dead_worker_is_reported_and_replaced_and_the_other_goes_on(pool: WorkerPool) -> None:
    pool.start(Call("nap", "functions:nap", (2.0,), Path(os.devnull)))
    pool.start(Call("die", "functions:die", (signal.SIGKILL,), Path(os.devnull)))
    ended: list[tuple[Call, Outcome]] = []
    while len(ended) < 2:
        ended += pool.wait(timeout=1.0)
        if len(ended) == 1 and len(pool.running) == 1:
            pool.start(Call("who", "functions:who", (), Path(os.devnull)))
    names = [each.name for each, _ in ended]
    assert names[0] == "die"
    assert "was killed (by hand, or because the memory ran out)" in ended[0][1].error
    assert not ended[0][1].is_final
    assert not any(outcome.error for _, outcome in ended[1:])


@pytest.mark.parametrize(("function", "how"), [("die", signal.SIGTERM), ("leave", 128 + signal.SIGTERM)])
def test_being_told_to_end_is_no_success_and_no_fault_of_the_users(pool: WorkerPool, function: str, how: int) -> None:
    outcome = call(pool, function, how)
    assert (outcome.error, outcome.is_final) == ("its process was told to end (SIGTERM)", False)


def test_a_crash_is_named_by_its_signal(pool: WorkerPool) -> None:
    assert call(pool, "die", signal.SIGSEGV).error == "its process died of SIGSEGV"


def test_an_idle_worker_that_died_is_replaced(pool: WorkerPool) -> None:
    pid = call(pool, "who").value[0]
    os.kill(pid, signal.SIGKILL)
    outcome = call(pool, "who")
    while outcome.error:  # it may have died just after it was looked at
        outcome = call(pool, "who")
    assert outcome.value[0] != pid
