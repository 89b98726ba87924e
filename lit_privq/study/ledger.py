"""What a study has finished: one line per job in ``jobs.jsonl``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lit_privq import __version__
from lit_privq.study.plan import Job, Product
from lit_privq.study.receipt import Receipt, Stamp, file_stamp, parsed, receipt_path, waiting_receipts

CHANGED = "changed"
DAMAGED = " is damaged"
DIVERGED = "diverged"
WAITING = "waiting"
WITH_ANOTHER = "made together with a damaged file"


class Ledger:
    """The finished files of the study in a folder: one for each model and variant, and those of audit and report.

    Jobs leave receipts; whoever holds the study's lock takes them into ``jobs.jsonl``, one line each. Anyone may read.

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
        waiting = waiting_receipts(root)  # read first: a ledger takes a receipt before it removes it
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        self.torn = bool(lines) and not lines[-1].endswith(b"\n")  # killed while writing it
        self.makers: dict[str, Receipt] = {}  # file -> the job that wrote it last
        taken = list(parsed(lines))
        for receipt in (*taken, *waiting):
            self._keep(receipt)
        by_name = {receipt.name: receipt for receipt in taken}
        self._waiting = waiting
        self._new = [receipt for receipt in waiting if by_name.get(receipt.name) != receipt]

    def hash(self, product: Product) -> str:
        """Digest of what goes into a file: the version, its recipe, and the content of its inputs as written."""
        content = [__version__, product.recipe, [self._digest(path) for path in product.inputs]]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def is_finished(self, job: Job) -> bool:
        """Whether a job whose needs are finished is finished itself."""
        return not any(self.reason(product) for product in job.products)

    def is_recorded(self, job: Job) -> bool:
        """Whether a job's files were made from what they are to be made from; they themselves are not looked at."""
        makers = [(product, self.makers.get(product.path)) for product in job.products]
        return all(maker and maker.hashes.get(product.path) == self.hash(product) for product, maker in makers)

    def reason(self, product: Product) -> str:
        """Why a file has to be made; empty if it is finished."""
        maker = self.makers.get(product.path)
        if maker is None:
            return "new"
        if maker.hashes.get(product.path) != self.hash(product):
            return f"{CHANGED}: {self._what_changed(maker, product)}"
        if product.path in maker.diverged:
            return DIVERGED
        beside = [path for path in maker.outputs if product.beside and path.startswith(f"{product.beside}/")]
        damaged = (path for path in (product.path, *beside) if not self._intact(path, maker.outputs[path]))
        return next((f"{path}{DAMAGED}" for path in damaged), "")

    def _what_changed(self, maker: Receipt, product: Product) -> str:
        """Whether another version, recipe or input makes a file stale; receipts of earlier versions do not tell."""
        if maker.version != __version__:
            return f"it was made by version {maker.version or 'of an earlier form'}, this is {__version__}"
        if maker.recipes.get(product.path) != product.recipe:
            return "its config, or the code that this names"
        return "what it is made from"

    def unfinished(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Files that have to be made, each with the reason; one behind another is `WAITING` to be looked at again.

        A damaged file is made again together with those that its job made with it: floating-point sums of another
        fleet could differ in their last digits.
        """
        jobs = list(jobs)
        known = {product.path for job in jobs for product in job.products}
        reasons: dict[str, str] = {}
        for job in jobs:
            for product in job.products:
                reason = WAITING if any(path in reasons for path in product.inputs) else self.reason(product)
                if reason:
                    reasons.setdefault(product.path, reason)
                if reason.endswith(DAMAGED):
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

    def _digest(self, path: str) -> str | None:
        """Content of a file as its job wrote it, None for what no job wrote."""
        stamp = self.makers[path].outputs.get(path) if path in self.makers else None
        return None if stamp is None else stamp.digest

    def hashes(self, job: Job) -> dict[str, str]:
        """Digest of what goes into each of a job's files; what it needs is finished."""
        return {product.path: self.hash(product) for product in job.products}

    def take_waiting(self) -> None:
        """Take the receipts of jobs that ended while no ledger was there."""
        self._take(self._new)
        self._remove(self._waiting)  # also those that were taken when a study was killed before it removed them
        self._new, self._waiting = [], []

    def take(self, receipt: Receipt) -> None:
        """Take a job's receipt: a line on disk before this returns."""
        self._take([receipt])
        self._keep(receipt)

    def _take(self, receipts: Sequence[Receipt]) -> None:
        if not receipts:
            return
        with self.path.open("ab") as file:
            file.write(b"\n" * self.torn + b"".join(receipt.line() for receipt in receipts))
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self._remove(receipts)

    def _remove(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            receipt_path(self.root, receipt.name).unlink(missing_ok=True)

    def _keep(self, receipt: Receipt) -> None:
        self.makers |= dict.fromkeys([*receipt.outputs, *receipt.diverged], receipt)

    def _intact(self, path: str, stamp: Stamp) -> bool:
        """Whether a file is what was recorded."""
        file = f"{self.root}/{path}"  # no Path: a large study has a hundred thousand
        try:
            status = os.stat(file)  # noqa: PTH116
        except OSError:
            return False
        if status.st_size != stamp.size:
            return False
        return (not self.verify and status.st_mtime_ns == stamp.changed_ns) or file_stamp(
            Path(file)
        ).digest == stamp.digest
