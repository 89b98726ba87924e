"""Which jobs run where: a note of each in ``DIR/running`` while it runs, and of why it failed."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from lit_privq.artifacts.atomic import atomic_write_bytes

JobState = Literal["running", "failed", "lost", "elsewhere"]


@dataclass(frozen=True)
class JobNote:
    """A job that was begun and has not ended well.

    Args:
        name: of the job.
        host: where it runs.
        pid: its process there.
        born: what tells this process from a later one of the same number; empty where the system does not say.
        began: seconds since 1970.
        error: why it failed, in a sentence; empty while it runs.
    """

    name: str
    host: str
    pid: int
    born: str
    began: float
    error: str = ""

    @property
    def state(self) -> JobState:
        """Running or failed; lost if its process is gone; elsewhere if that is another machine's."""
        if self.error:
            return "failed"
        if self.host != socket.gethostname():
            return "elsewhere"
        return "running" if is_alive(self.pid, self.born) else "lost"


@contextmanager
def noted(root: Path, name: str) -> Iterator[None]:
    """Note that this process runs a job, and forget it if the job ends well.

    Args:
        root: the study's folder.
        name: of the job.
    """
    note = JobNote(name, socket.gethostname(), os.getpid(), _born(os.getpid()), time.time())
    _write(root, note)
    try:
        yield
    except BaseException as error:
        what = " ".join(str(error).split())
        with suppress(OSError):  # of a full disk, say; the job's own error is the one to tell
            _write(root, replace(note, error=f"{type(error).__name__}: {what}" if what else type(error).__name__))
        raise
    _path(root, name).unlink(missing_ok=True)


def read_notes(root: Path) -> list[JobNote]:
    """The jobs that were begun and have not ended well, the earliest first; a note that cannot be read is none."""
    notes = []
    for path in root.glob("running/*.json"):
        with suppress(OSError, ValueError, TypeError):
            notes.append(JobNote(**json.loads(path.read_text(encoding="utf-8"))))
    return sorted(notes, key=lambda note: note.began)


def forget_ended(root: Path) -> None:
    """Remove the notes of jobs that failed or were lost: a new start of the study tries them again."""
    for note in read_notes(root):
        if note.state in ("failed", "lost"):
            _path(root, note.name).unlink(missing_ok=True)


def is_alive(pid: int, born: str = "") -> bool:
    """Whether a process of this machine is there, and still the one that was ``born`` then where that is known."""
    if born:
        return _born(pid) == born
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return True


def _path(root: Path, name: str) -> Path:
    return root / "running" / f"{name}.json"


def _write(root: Path, note: JobNote) -> None:
    atomic_write_bytes(_path(root, note.name), json.dumps(asdict(note)).encode())


def _born(pid: int) -> str:
    """When a process was started, in clock ticks since the system was; empty where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
