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
from typing import Any, NamedTuple

from lit_privq import __version__
from lit_privq.study.plan import Job, Product

CHANGED = "changed"
WITH_ANOTHER = "made together with a damaged file"


class Stamp(NamedTuple):
    """A file as it was written: size in bytes, digest, time of last change in nanoseconds."""

    size: int
    digest: str
    changed_ns: int


def file_stamp(path: Path) -> Stamp:
    """Size, digest and time of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        status = os.fstat(file.fileno())
    return Stamp(status.st_size, digest, status.st_mtime_ns)


@dataclass(frozen=True)
class FinishedJob:
    """A finished job.

    Args:
        name: of the job.
        outputs: every file written.
        hashes: by file, of what went into it, see `Ledger.hash`; lines of earlier versions have none.
        seconds: how long the job took.
        finished: when, in local time.
    """

    name: str
    outputs: Mapping[str, Stamp]
    hashes: Mapping[str, str]
    seconds: float
    finished: str


class Ledger:
    """The finished files of the study in a folder: one for each model and variant, and those of audit and report.

    A file is finished as long as its recipe, the files it was made from and the version of lit_privq are those on
    record and its content is still what was written. A file whose size and time are unchanged is taken as unchanged;
    one that was copied or touched is read again, and so is every file under ``verify``.

    Args:
        root: the study's folder.
        verify: read every file.
    """

    def __init__(self, root: Path, verify: bool = False) -> None:
        self.root, self.verify = root, verify
        self.path = root / "jobs.jsonl"
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        self.torn = bool(lines) and not lines[-1].endswith(b"\n")  # killed while writing it
        self.makers: dict[str, FinishedJob] = {}  # file -> the job that wrote it last
        for record in _records(lines):
            self._keep(record)

    def hash(self, product: Product) -> str:
        """Digest of what goes into a file: the version, its recipe, and the content of its inputs as written."""
        inputs = [maker.outputs[path].digest if (maker := self.makers.get(path)) else None for path in product.inputs]
        content = [__version__, product.recipe, inputs]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def is_finished(self, job: Job) -> bool:
        """Whether a job whose needs are finished is finished itself."""
        return not any(self.reason(product) for product in job.products)

    def reason(self, product: Product) -> str:
        """Why a file has to be made; empty if it is finished."""
        maker = self.makers.get(product.path)
        if maker is None:
            return "new"
        if maker.hashes.get(product.path) != self.hash(product):
            return CHANGED
        beside = [path for path in maker.outputs if product.beside and path.startswith(f"{product.beside}/")]
        damaged = (path for path in (product.path, *beside) if not self._intact(path, maker.outputs[path]))
        return next((f"{path} is damaged" for path in damaged), "")

    def unfinished(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Files that have to be made, each with the reason; one behind another is ``waiting`` to be looked at again.

        A damaged file is made again together with those that its job made with it: floating-point sums of another
        fleet could differ in their last digits.
        """
        jobs = list(jobs)
        known = {product.path for job in jobs for product in job.products}
        reasons: dict[str, str] = {}
        for job in jobs:
            for product in job.products:
                reason = "waiting" if any(path in reasons for path in product.inputs) else self.reason(product)
                if reason:
                    reasons.setdefault(product.path, reason)
                if reason.endswith("damaged"):
                    reasons |= {
                        path: WITH_ANOTHER
                        for path in self.makers[product.path].outputs
                        if path in known and path not in reasons
                    }
        return reasons

    def seconds(self, products: Iterable[Product]) -> float:
        """Seconds of work that went into files, each with an equal share of its job's."""
        makers = [self.makers[product.path] for product in products if product.path in self.makers]
        return sum(maker.seconds / max(1, len(maker.hashes)) for maker in makers)

    def add(self, job: Job, outputs: Mapping[str, Stamp], seconds: float) -> None:
        """Record a finished job, on disk before this returns."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        hashes = {product.path: self.hash(product) for product in job.products}
        record = FinishedJob(job.name, outputs, hashes, round(seconds, 3), now)
        with self.path.open("ab") as file:
            file.write(b"\n" * self.torn + json.dumps(asdict(record)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self._keep(record)

    def _keep(self, record: FinishedJob) -> None:
        self.makers |= dict.fromkeys(record.outputs, record)

    def _intact(self, path: str, stamp: Stamp) -> bool:
        """Whether a file is what was recorded."""
        file = self.root / path
        try:
            status = file.stat()
        except OSError:
            return False
        if status.st_size != stamp.size:
            return False
        return (not self.verify and status.st_mtime_ns == stamp.changed_ns) or file_stamp(file).digest == stamp.digest


def _records(lines: list[bytes]) -> Iterator[FinishedJob]:
    """Records of the lines that can be read; a job whose line cannot is run again."""
    for line in lines:
        try:
            fields: dict[str, Any] = json.loads(line)
            outputs = {path: Stamp(*stamp) for path, stamp in fields["outputs"].items()}
            yield FinishedJob(
                fields["name"], outputs, dict(fields.get("hashes", {})), fields["seconds"], fields["finished"]
            )
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
