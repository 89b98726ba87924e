"""Persistent worker processes that call functions by name, one thread and one call at a time each."""

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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from lit_privq.artifacts.atomic import is_full_disk
from lit_privq.artifacts.diverged import Diverged

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# glibc gives large blocks back to the system at every training step, only to fetch them again: 8 % of a step at 32x32.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**32)}
WORKER = ONE_THREAD | KEEP_MEMORY


@dataclass(frozen=True)
class Resources:
    """What a call takes of the machine it runs on, for engines that place calls by it.

    Args:
        cpus: cores.
        gpu: share of a GPU, 0 for none.
        memory: bytes; 0 where nobody knows.
        asked: whether the user says that it takes a GPU; where it is a guess, there may be none to ask for.
    """

    cpus: int = 1
    gpu: float = 0.0
    memory: int = 0
    asked: bool = False


@dataclass(frozen=True)
class Call:
    """What a worker is to do: call a function by name.

    Args:
        name: of the call, for whoever waits for it.
        function: ``module:function``, imported in the worker.
        arguments: of the call; plain values.
        log: file that takes what the call prints, by whatever means.
        resources: what it takes.
        makes: what it is for; a call of the same name that waits in a queue for something else is an outdated one.
    """

    name: str
    function: str
    arguments: tuple[Any, ...]
    log: Path
    resources: Resources = Resources()
    makes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Args:
        value: what the call returned.
        error: why it failed, in a sentence; empty if it did not.
        is_final: whether it would fail again until the user corrects something.
        stops: whether the whole study is to stop, as where the disk is full.
        is_lost: whether it was not the call that failed but the machine under it.
        seconds: how long it took.
    """

    value: Any = None
    error: str = ""
    is_final: bool = False
    stops: bool = False
    is_lost: bool = False
    seconds: float = 0.0


@dataclass
class _Worker:
    slot: int
    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    call: Call | None = None
    started: float = 0.0


class WorkerPool:
    """At most `size` worker processes, started when first needed and replaced when one dies.

    Args:
        size: how many.
        environment: set in the workers before they import anything.
        devices: GPUs, as CUDA_VISIBLE_DEVICES names them; every worker sees one, and they take turns.
    """

    def __init__(self, size: int, environment: Mapping[str, str], devices: Sequence[str] = ()) -> None:
        self.size, self.environment, self.devices = size, dict(environment), devices
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.connection.close()  # all at once, then one by one
        for worker in list(self._workers):
            self._end_worker(worker)

    @property
    def running(self) -> list[Call]:
        """Calls that workers are at."""
        return [worker.call for worker in self._workers if worker.call]

    def start(self, call: Call) -> None:
        """Give a call to an idle worker; there must be one, or room for one."""
        for worker in [w for w in self._workers if w.call is None and w.process.poll() is not None]:
            self._end_worker(worker)
        worker = next((w for w in self._workers if w.call is None), None) or self._start_worker()
        worker.call, worker.started = call, time.monotonic()
        with suppress(OSError):  # it died this very moment: `wait` will find it so
            worker.connection.send(call)

    def wait(self, timeout: float) -> list[tuple[Call, Outcome]]:
        """Calls that ended, waiting up to `timeout` seconds for the first."""
        busy = [worker for worker in self._workers if worker.call]
        wait([worker.connection for worker in busy], timeout)
        ended = [(worker.call, self._outcome(worker)) for worker in busy]
        return [(call, outcome) for call, outcome in ended if call and outcome]

    def call(self, call: Call) -> Outcome:
        """Make one call and wait for its end; no other may be running."""
        self.start(call)
        while not (ended := self.wait(timeout=1.0)):
            pass
        return ended[0][1]

    def _start_worker(self) -> _Worker:
        slot = next(slot for slot in range(self.size) if all(worker.slot != slot for worker in self._workers))
        seen = {"CUDA_VISIBLE_DEVICES": self.devices[slot % len(self.devices)]} if self.devices else {}
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
                env={**os.environ, **self.environment, **seen},
            )
        self._workers.append(_Worker(slot, process, connection))
        return self._workers[-1]

    def _outcome(self, worker: _Worker) -> Outcome | None:
        """The outcome of a worker's call, None while it is at it."""
        is_dead = worker.process.poll() is not None  # asked first: what it sent before it died can still be read
        try:
            if worker.connection.poll():
                outcome: Outcome = worker.connection.recv()
                worker.call = None
                return outcome
        except (EOFError, OSError):
            is_dead = True
        if not is_dead:
            return None
        seconds = time.monotonic() - worker.started
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=5)
        error = _cause_of_death(worker.process.returncode)
        self._end_worker(worker)
        return Outcome(error=error, seconds=seconds)

    def _end_worker(self, worker: _Worker) -> None:
        """End an idle worker; kill a busy one, whose output files are not in place yet."""
        self._workers.remove(worker)
        worker.connection.close()
        if worker.call is None:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=10)
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)  # with its children
        worker.process.wait()


def _cause_of_death(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed (by hand, or because the memory ran out)"
    if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
        return "its process was told to end (SIGTERM)"
    if code is not None and code < 0:
        return f"its process died of {signal.Signals(-code).name}"
    return f"its process ended with status {code}"


def work(descriptor: int) -> None:
    """Worker main loop: run calls from the connection, send their outcomes, until the connection closes."""
    faulthandler.enable()
    connection: Connection[Any, Any] = Connection(descriptor)
    calls: SimpleQueue[Call | None] = SimpleQueue()
    idle = threading.Event()
    idle.set()
    threading.Thread(target=_listen, args=(connection, calls, idle), daemon=True).start()
    while call := calls.get():
        start = time.monotonic()
        outcome = run_call(call)
        idle.set()
        with suppress(OSError):  # the study has ended
            connection.send(replace(outcome, seconds=time.monotonic() - start))


def _listen(connection: Connection[Any, Any], calls: SimpleQueue[Call | None], idle: threading.Event) -> None:
    """Pass calls on; when the study ends or is killed, end too, even amid a call."""
    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            if not idle.is_set():
                os.killpg(0, signal.SIGKILL)
            return calls.put(None)
        idle.clear()
        calls.put(call)


def run_call(call: Call) -> Outcome:
    """Call a function with everything printed going to the call's log."""
    _print_to(call.log)
    module, function = call.function.split(":")
    try:
        return Outcome(getattr(importlib.import_module(module), function)(*call.arguments))
    except SystemExit as end:
        return _outcome_of_exit(call.log, end)
    except BaseException as error:
        traceback.print_exc()
        return _outcome_of_error(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _outcome_of_error(error: BaseException) -> Outcome:
    """A failure; one that only the user can correct is final, and is one sentence."""
    if is_full_disk(error):
        full = "no space is left on the device; make room, then the same command goes on"
        return Outcome(error=full, is_final=True, stops=True)
    if isinstance(error, (ValueError, FileNotFoundError)):
        return Outcome(error=" ".join(str(error).split()), is_final=True, stops=isinstance(error, Diverged))
    return Outcome(error=" ".join(f"{type(error).__name__}: {error}".split()))


def _outcome_of_exit(log: Path, end: SystemExit) -> Outcome:
    """A call that ended its process: well, told by a signal, or because a command line did not parse."""
    if not end.code:
        return Outcome()
    if isinstance(end.code, int) and end.code > 128:
        return Outcome(error=_cause_of_death(end.code))
    return Outcome(error=_complaint(log, end.code), is_final=True)


def _complaint(log: Path, code: object) -> str:
    """The error message that a parser of command lines printed."""
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
