"""What a study has finished: one line per job in ``jobs.jsonl``, and a lock so that one process writes it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lit_privq import __version__
from lit_privq.study.plan import Job

Stamp = tuple[int, str, int]  # size in bytes, digest, time of last change in nanoseconds


def file_stamp(path: Path) -> Stamp:
    """Size, digest and time of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        status = os.fstat(file.fileno())
    return status.st_size, digest, status.st_mtime_ns


@dataclass(frozen=True)
class Record:
    """A finished job.

    Args:
        name: of the job.
        hash: of what went in, see `Ledger.hash`.
        outputs: stamp of every file written.
        seconds: how long it took.
        finished: when, in local time.
    """

    name: str
    hash: str
    outputs: Mapping[str, Stamp]
    seconds: float
    finished: str


class Ledger:
    """The finished jobs of the study in a folder.

    A job is finished as long as its command, its configs, its inputs and the version of lit_privq are those on record
    and its outputs are still what it wrote. A file whose size and time are unchanged is taken as unchanged; one that
    was copied or touched is read again, and so is every file under ``verify``.

    Args:
        root: the study's folder.
        verify: read every file.
    """

    def __init__(self, root: Path, verify: bool = False) -> None:
        self.root, self.verify = root, verify
        self.path = root / "jobs.jsonl"
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        self.torn = bool(lines) and not lines[-1].endswith(b"\n")  # killed while writing it
        self.records: dict[str, Record] = {}
        self._written: dict[str, str] = {}  # file -> digest of its content
        for record in _records(lines):
            self._keep(record)

    def hash(self, job: Job) -> str:
        """Digest of what goes into a job: the version, its recipe, and the content of its inputs as written."""
        content = [__version__, job.recipe, [self._written.get(path) for path in job.inputs]]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def is_finished(self, job: Job) -> bool:
        """Whether a job whose needs are finished is finished itself."""
        return not self.reason(job)

    def reason(self, job: Job) -> str:
        """Why a job has to run; empty if it is finished."""
        record = self.records.get(job.name)
        if record is None:
            return "new"
        if record.hash != self.hash(job) or set(record.outputs) != set(job.outputs):
            return "changed"
        return next((f"{path} is damaged" for path in job.outputs if not self._intact(path, record.outputs[path])), "")

    def unfinished(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Jobs that have to run, each with the reason; one behind another is ``waiting`` to be looked at again."""
        reasons: dict[str, str] = {}
        for job in jobs:
            reason = "waiting" if any(name in reasons for name in job.needs) else self.reason(job)
            if reason:
                reasons[job.name] = reason
        return reasons

    def add(self, job: Job, outputs: Mapping[str, Stamp], seconds: float) -> None:
        """Record a finished job, on disk before this returns."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        record = Record(job.name, self.hash(job), outputs, round(seconds, 3), now)
        with self.path.open("ab") as file:
            file.write(b"\n" * self.torn + json.dumps(asdict(record)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self._keep(record)

    def _keep(self, record: Record) -> None:
        self.records[record.name] = record
        self._written |= {path: stamp[1] for path, stamp in record.outputs.items()}

    def _intact(self, path: str, stamp: Stamp) -> bool:
        """Whether a file is what was recorded."""
        file = self.root / path
        try:
            status = file.stat()
        except OSError:
            return False
        if status.st_size != stamp[0]:
            return False
        return (not self.verify and status.st_mtime_ns == stamp[2]) or file_stamp(file)[1] == stamp[1]


def _records(lines: list[bytes]) -> Iterator[Record]:
    """Records of the lines that can be read; a job whose line cannot is run again."""
    for line in lines:
        try:
            fields: dict[str, Any] = json.loads(line)
            yield Record(**{**fields, "outputs": {path: tuple(stamp) for path, stamp in fields["outputs"].items()}})
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes off a study's folder, which is made; the lock of a dead process holds nobody up.

    Raises:
        ValueError: if another process works there.
        OSError: if nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / ".lock").open("a+")
    except OSError as error:
        raise OSError(f"cannot write to {root} ({error.strerror}); choose another --output") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when its process dies
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            raise ValueError(
                f"another study (process {pid}) is running in {root}; wait for it, or choose another --output"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
