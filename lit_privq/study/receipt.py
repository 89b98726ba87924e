"""Receipts: what a job leaves behind when it is done, written by the job itself beside what it made."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lit_privq import __version__
from lit_privq.artifacts.atomic import atomic_write_bytes


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


def now() -> str:
    """The local time with its offset, as records keep it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


@dataclass(frozen=True)
class Receipt:
    """A finished job.

    Args:
        name: of the job.
        outputs: every file written.
        hashes: by file, of what went into it, see `Ledger.hash`; those of earlier versions have none.
        seconds: how long the job took.
        diverged: those of its files that it could not make, as their models hold NaN or infinity.
        recipes: by file, as the plan had them, to tell what has changed since; earlier versions kept none.
        version: of lit_privq; empty of earlier ones.
        finished: when, in local time.
        host: where.
    """

    name: str
    outputs: Mapping[str, Stamp]
    hashes: Mapping[str, str]
    seconds: float
    diverged: Sequence[str] = ()
    recipes: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__
    finished: str = field(default_factory=now)
    host: str = field(default_factory=socket.gethostname)

    def line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def parsed(lines: Iterable[bytes]) -> Iterator[Receipt]:
    """Receipts of the lines that can be read; a job whose line cannot is run again."""
    for line in lines:
        try:
            yield _receipt(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def _receipt(fields: dict[str, Any]) -> Receipt:
    outputs = {path: Stamp(*stamp) for path, stamp in fields["outputs"].items()}
    return Receipt(
        fields["name"],
        outputs,
        dict(fields.get("hashes", {})),
        fields["seconds"],
        tuple(fields.get("diverged", ())),
        dict(fields.get("recipes", {})),
        fields.get("version", ""),
        fields["finished"],
        fields.get("host", ""),
    )


def receipt_path(root: Path, name: str) -> Path:
    """Where a job of the study in a folder leaves its receipt."""
    return root / "receipts" / f"{name}.json"


def write_receipt(root: Path, receipt: Receipt) -> None:
    """Leave a receipt, whole or not at all."""
    atomic_write_bytes(receipt_path(root, receipt.name), receipt.line())


def waiting_receipts(root: Path) -> list[Receipt]:
    """Receipts that no ledger has taken yet, the latest last."""
    found = []
    for path in (root / "receipts").glob("[!.]*.json"):
        try:
            found.append(path.read_bytes())
        except FileNotFoundError:  # taken this very moment
            continue
    return sorted(parsed(found), key=lambda receipt: (receipt.finished, receipt.name))
