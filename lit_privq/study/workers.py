"""Persistent worker processes that call functions by name, one thread and one task at a time each."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# glibc gives large blocks back to the system at every training step, only to fetch them again: 8 % of a step at 32x32.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**32)}
WORKER = ONE_THREAD | KEEP_MEMORY


@dataclass(frozen=True)
class Task:
    """A call for a worker.

    Args:
        name: of the task.
        function: ``module:function``, imported in the worker.
        arguments: of the call; plain values.
        log: file that takes what the call prints, by whatever means.
    """

    name: str
    function: str
    arguments: tuple[Any, ...]
    log: Path


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        value: what the call returned.
        error: why it failed, in a sentence; empty if it did not.
        is_final: whether it would fail again, being the user's to mend.
        seconds: how long it took.
    """

    value: Any = None
    error: str = ""
    is_final: bool = False
    seconds: float = 0.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    task: Task | None = None
    started: float = 0.0


class Pool:
    """At most `size` worker processes, started when first needed and replaced when one dies.

    Args:
        size: how many.
        environment: set in the workers before they import anything.
    """

    def __init__(self, size: int, environment: Mapping[str, str]) -> None:
        self.size, self.environment = size, dict(environment)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.connection.close()  # all at once, then one by one
        for worker in list(self._workers):
            self._dismiss(worker)

    @property
    def running(self) -> list[Task]:
        """Tasks that workers are at."""
        return [worker.task for worker in self._workers if worker.task]

    def start(self, task: Task) -> None:
        """Give a task to an idle worker; there must be one, or room for one."""
        for worker in [w for w in self._workers if w.task is None and w.process.poll() is not None]:
            self._dismiss(worker)
        worker = next((w for w in self._workers if w.task is None), None) or self._hire()
        worker.task, worker.started = task, time.monotonic()
        with suppress(OSError):  # it died this very moment: `wait` will find it so
            worker.connection.send(task)

    def wait(self, timeout: float) -> list[tuple[Task, Outcome]]:
        """Tasks that ended, waiting up to `timeout` seconds for the first."""
        busy = [worker for worker in self._workers if worker.task]
        wait([worker.connection for worker in busy], timeout)
        ended = [(worker.task, self._outcome(worker)) for worker in busy]
        return [(task, outcome) for task, outcome in ended if task and outcome]

    def call(self, task: Task) -> Outcome:
        """Run one task and wait for its end; no other may be running."""
        self.start(task)
        while not (ended := self.wait(timeout=1.0)):
            pass
        return ended[0][1]

    def _hire(self) -> _Worker:
        assert len(self._workers) < self.size, "no idle worker"
        connection, theirs = Pipe()
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; from lit_privq.study.workers import work; work({theirs.fileno()})"
        )
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the study alone, and what a worker starts ends with it
                env={**os.environ, **self.environment},
            )
        self._workers.append(_Worker(process, connection))
        return self._workers[-1]

    def _outcome(self, worker: _Worker) -> Outcome | None:
        """The outcome of a worker's task, None while it is at it."""
        is_dead = worker.process.poll() is not None  # asked first: what it sent before it died can still be read
        try:
            if worker.connection.poll():
                outcome: Outcome = worker.connection.recv()
                worker.task = None
                return outcome
        except (EOFError, OSError):
            is_dead = True
        if not is_dead:
            return None
        seconds = time.monotonic() - worker.started
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=5)
        error = _cause_of_death(worker.process.returncode)
        self._dismiss(worker)
        return Outcome(error=error, seconds=seconds)

    def _dismiss(self, worker: _Worker) -> None:
        """Let an idle worker go, kill one that is at a task: what it was writing is not in place yet."""
        self._workers.remove(worker)
        worker.connection.close()
        if worker.task is None:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=10)
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)  # with its children
        worker.process.wait()


def _cause_of_death(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed (by hand, or because the memory ran out)"
    if code is not None and code < 0:
        return f"its process died of {signal.Signals(-code).name}"
    return f"its process ended with status {code}"


def work(descriptor: int) -> None:
    """A worker's life: take a task, run it, say how it went, until the study hangs up."""
    faulthandler.enable()
    connection: Connection[Any, Any] = Connection(descriptor)
    tasks: SimpleQueue[Task | None] = SimpleQueue()
    idle = threading.Event()
    idle.set()
    threading.Thread(target=_listen, args=(connection, tasks, idle), daemon=True).start()
    while task := tasks.get():
        start = time.monotonic()
        outcome = _run(task)
        idle.set()
        with suppress(OSError):  # nobody is left to tell
            connection.send(replace(outcome, seconds=time.monotonic() - start))


def _listen(connection: Connection[Any, Any], tasks: SimpleQueue[Task | None], idle: threading.Event) -> None:
    """Pass tasks on; when the study ends or is killed, end too, even amid a task."""
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            if not idle.is_set():
                os.killpg(0, signal.SIGKILL)
            return tasks.put(None)
        idle.clear()
        tasks.put(task)


def _run(task: Task) -> Outcome:
    """Call a task's function with everything printed going to its log."""
    _print_to(task.log)
    module, function = task.function.split(":")
    try:
        return Outcome(getattr(importlib.import_module(module), function)(*task.arguments))
    except (ValueError, FileNotFoundError) as error:
        traceback.print_exc()
        return Outcome(error=" ".join(str(error).split()), is_final=True)
    except SystemExit as end:
        return Outcome(error=_complaint(task.log, end.code), is_final=True) if end.code else Outcome()
    except BaseException as error:
        traceback.print_exc()
        return Outcome(error=" ".join(f"{type(error).__name__}: {error}".split()))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _complaint(log: Path, code: object) -> str:
    """What a parser of command lines said before it gave up."""
    sys.stderr.flush()
    _, is_there, error = log.read_text(encoding="utf-8", errors="replace").rpartition("error: ")
    return " ".join(error.split()) if is_there else f"it ended with status {code}"


def _print_to(log: Path) -> None:
    """Send standard output and error to a file from here on, those of libraries written in C too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
