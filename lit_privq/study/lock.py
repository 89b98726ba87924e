"""One study at a time in a folder, also where machines share it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from lit_privq.artifacts.atomic import atomic_write_bytes

BEAT_SECONDS = 10.0
STALE = 6  # beats that a lease may miss: storage that is shared may show a file half a minute late
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Lease:
    """Who works in a study's folder, and how often that was said.

    Args:
        host: of the study's process.
        machine: tells two of the same name apart.
        pid: of the process.
        token: of this start, as process numbers come again.
        beat: counts up while the process lives; clocks of machines differ, so a lease holds no time.
    """

    host: str
    machine: str
    pid: int
    token: str
    beat: int = 0


def read_lease(root: Path) -> Lease | None:
    """The lease in a study's folder; None if there is none that can be read."""
    try:
        return Lease(**json.loads((root / ".lease").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def locked(root: Path, beat_seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Keep other processes off a study's folder, which is made; the lock of a dead process holds nobody up for long.

    Processes of one machine keep each other off by a lock that the system releases when its holder dies. For those of
    other machines there is a lease beside it: a file whose holder renews it, and which may be taken over when it was
    not renewed for some time, as this process measures it.

    Args:
        root: the study's folder.
        beat_seconds: time between two renewals.

    Raises:
        ValueError: if another process works there, or has taken over because this one was halted for long.
        OSError: if nothing can be written there.
    """
    with _lock_file(root) as file:
        held = _lock(file, root)
        lease = Lease(socket.gethostname(), machine(), os.getpid(), uuid.uuid4().hex)
        found = read_lease(root)
        if found is not None and not (held and found.machine == lease.machine):
            _wait_until_stale(found, root, beat_seconds)
        _write(root, lease)
        keeper = _Keeper(root, lease, beat_seconds)
        keeper.start()
        try:
            yield
        except KeyboardInterrupt:
            if keeper.lost:
                raise ValueError(
                    f"another study has taken over {root}, as this one did not renew its lease in time; look there"
                ) from None
            raise
        finally:
            keeper.stop()


def _lock_file(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / ".lock").open("a+")
    except OSError as error:
        raise OSError(f"cannot write to {root} ({error.strerror}); choose another --output") from None


def _lock(file: IO[str], root: Path) -> bool:
    """Take the lock of this machine; False where its storage has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when its process dies
    except BlockingIOError:
        file.seek(0)
        raise ValueError(_busy(f"process {file.read().strip()}", root)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # storage without locks: the lease is all there is
            raise
        return False
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return True


def machine() -> str:
    """What tells this machine from others, whatever their names are."""
    boot = Path("/proc/sys/kernel/random/boot_id")  # of Linux
    return boot.read_text(encoding="ascii").strip() if boot.is_file() else f"{uuid.getnode():x}"


def _wait_until_stale(found: Lease, root: Path, beat_seconds: float) -> None:
    """Wait whether a lease that another machine left is renewed.

    Raises:
        ValueError: if it is.
    """
    who = f"process {found.pid} on {found.host}"
    print(
        f"{who} holds {root}; waiting {STALE * beat_seconds:.0f} s for a sign of life, then taking over",
        file=sys.stderr,
    )
    for _ in range(STALE):
        time.sleep(beat_seconds)
        now = read_lease(root)
        if now is None:
            return
        if now != found:
            raise ValueError(_busy(who, root))


def _busy(who: str, root: Path) -> str:
    return f"another study ({who}) is running in {root}; wait for it, or choose another --output"


def _write(root: Path, lease: Lease) -> None:
    atomic_write_bytes(root / ".lease", json.dumps(asdict(lease)).encode())


class _Keeper(threading.Thread):
    """Renews a lease until it is told to stop; interrupts the study if another process has taken over."""

    def __init__(self, root: Path, lease: Lease, seconds: float) -> None:
        super().__init__(daemon=True)
        self.root, self.lease, self.seconds = root, lease, seconds
        self.lost = False
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self.seconds):
            found = read_lease(self.root)
            if found is not None and found.token != self.lease.token:
                self.lost = True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return
            self.lease = replace(self.lease, beat=self.lease.beat + 1)
            try:
                _write(self.root, self.lease)
            except OSError:  # a full disk, or storage that is away for a while: the next beat may come in time
                continue

    def stop(self) -> None:
        """Give the lease back, unless it is another's by now."""
        self._ended.set()
        self.join()
        found = read_lease(self.root)
        if found is not None and found.token == self.lease.token:
            (self.root / ".lease").unlink(missing_ok=True)
