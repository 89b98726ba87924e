"""``python -m lit_privq study status``: how far a study is, while it runs, after it ended and after a crash."""

from __future__ import annotations

import argparse
import io
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_privq.study.choices import fleets_of, without_equal_repeats
from lit_privq.study.dry_run import state
from lit_privq.study.engine import log_of
from lit_privq.study.ledger import Ledger
from lit_privq.study.lock import BEAT_SECONDS, STALE, Lease, machine, read_lease
from lit_privq.study.plan import STAGES, Job, Stage, plan
from lit_privq.study.progress import StudyProgress, duration, finished_work
from lit_privq.study.record import read_record
from lit_privq.study.running import JobNote, is_alive, read_notes
from lit_privq.study.storage import size
from lit_privq.study.study_file import read_study
from lit_privq.study.tasks import workers

_EXAMPLE = """example:
  python -m lit_privq study status runs/digits
It only reads, and may be asked while the study runs."""
_MOST = 10  # stale jobs that are listed one by one


def main(argv: Sequence[str]) -> None:
    """Print how far a study is.

    Args:
        argv: the options behind ``study status``.

    Raises:
        ValueError: if there is no study in the folder.
        FileNotFoundError: if its configs are not where they were when it was started.
    """
    print("\n".join(read_status(parser().parse_args(argv).directory).lines()))


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq study status",
        description="How far a study is: done, running, failed and stale jobs, time and disk of each stage.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("directory", metavar="FOLDER", type=Path, help="the study's --output")
    return made


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Args:
        root: its folder.
        record: study.json.
        jobs: all of the plan.
        todo: what is left of it.
        reasons: by file, why it has to be made.
        ledger: of the folder.
        notes: jobs that were begun and have not ended well.
        now: seconds since 1970.
        lease: of who leads it; None if nobody does.
    """

    root: Path
    record: Mapping[str, Any]
    jobs: Sequence[Job]
    todo: Sequence[Job]
    reasons: Mapping[str, str]
    ledger: Ledger
    notes: Sequence[JobNote]
    now: float
    lease: Lease | None = None

    def lines(self) -> Iterator[str]:
        """What is printed."""
        yield f"{self.root}: {self.record.get('name', '')}, {self._driver()}"
        yield f"{'':9}{'done':>12}{'stale':>8}{'time':>14}{'disk':>10}"
        for stage in STAGES:
            if any(job.stage == stage for job in self.jobs):
                yield self._stage_line(stage)
        yield self.time_left()
        for title, states in (
            ("running", ("running", "elsewhere")), ("failed", ("failed",)), ("lost, its process is gone", ("lost",))
        ):  # fmt: skip
            notes = [note for note in self.notes if note.state in states]
            yield from (f"{title}: {self._said_of(note)}" for note in notes[:_MOST])
            if len(notes) > _MOST:
                yield f"and {len(notes) - _MOST} more: {title}"
        stale = [(job.name, state(job, self.reasons, self.ledger)) for job in self.jobs]
        stale = [(name, said) for name, said in stale if said.startswith("stale")]
        yield from (f"{name} is {said}" for name, said in stale[:_MOST])
        if len(stale) > _MOST:
            yield f"and {len(stale) - _MOST} more are stale; `study --dry_run` lists all"
        if self.todo and not self._is_led() and (command := self.record.get("command")):
            yield f"this goes on, in {self.record.get('folder', 'the folder where it was started')}:\n  {command}"

    def time_left(self) -> str:
        """How long the rest will take, by what each stage took so far."""
        at_work = [note for note in self.notes if note.state in ("running", "elsewhere")]
        n_workers = len(at_work) or workers()
        never_made = {path: "" for job in self.jobs for path in job.outputs if path not in self.ledger.makers}
        earlier = finished_work(self.jobs, never_made, self.ledger)  # what is stale took its time, too
        progress = StudyProgress(self.todo, n_workers, io.StringIO(), lambda: self.now, earlier)
        by_name = {job.name: job for job in self.todo}
        for note in at_work:
            if note.name in by_name:
                progress.begin(by_name[note.name], at=note.began)
        left = progress.time_left()
        return left if left == "done" else f"{left}, with {n_workers} worker{'s' * (n_workers > 1)}"

    def _driver(self) -> str:
        """Who is at work."""
        if self.lease and self._is_led():
            silent = self.now - (self.root / ".lease").stat().st_mtime
            heard = f", last heard of {duration(silent)} ago" if silent > STALE * BEAT_SECONDS else ""
            return f"led by process {self.lease.pid} on {self.lease.host}{heard}"
        if self.lease:
            return f"not running: process {self.lease.pid}, which led it, is gone"
        if any(note.state in ("running", "elsewhere") for note in self.notes):
            return "jobs run, and no study leads them"
        return "not running" if self.todo else "finished"

    def _is_led(self) -> bool:
        """Whether a study is at work, as far as can be seen from here."""
        return self.lease is not None and (self.lease.machine != machine() or is_alive(self.lease.pid))

    def _stage_line(self, stage: Stage) -> str:
        jobs = [job for job in self.jobs if job.stage == stage]
        products = [product for job in jobs for product in job.products]
        done = [product for product in products if product.path not in self.reasons]
        made = [product for product in products if product.path in self.ledger.makers]
        n_stale = sum(product.path in self.reasons for product in made)
        count, stale = f"{len(done)}/{len(products)}", n_stale or ""
        if stage in ("audit", "report"):  # whose files count as one
            count, stale = f"{int(len(done) == len(products))}/1", min(n_stale, 1) or ""
        seconds, disk = self.ledger.seconds(made), self._bytes(jobs)
        took, holds = duration(seconds) if made else "", size(disk) if made else ""
        return f"{stage:9}{count:>12}{stale:>8}{took:>14}{holds:>10}".rstrip()

    def _bytes(self, jobs: Sequence[Job]) -> int:
        """Bytes of what a stage's jobs wrote, beside its products too."""
        makers = {id(maker): maker for job in jobs for path in job.outputs if (maker := self.ledger.makers.get(path))}
        paths = {path: stamp.size for maker in makers.values() for path, stamp in maker.outputs.items()}
        return sum(paths.values())

    def _said_of(self, note: JobNote) -> str:
        """A job that was begun: where, since when, and what it said last."""
        since = time.strftime("%H:%M:%S", time.localtime(note.began))
        gone = duration(self.now - note.began)
        where = f"process {note.pid}" + (f" on {note.host}" if note.host != socket.gethostname() else "")
        log = log_of(note.name, self.root)
        if note.state in ("running", "elsewhere"):
            return f"{note.name}, {where}, since {since} ({gone})"
        last = last_line(log)
        what = note.error or ("" if last.startswith("python -m lit_privq ") else last) or "it said nothing"
        return f"{note.name}, begun at {since}: {what} (see {log})"


def read_status(root: Path) -> StudyStatus:
    """Read how far the study in a folder is; nothing is written.

    Raises:
        ValueError: if there is no study in the folder.
        FileNotFoundError: if its configs are not where they were when it was started.
    """
    record = read_record(root)
    config = record.get("config")
    if not record and read_lease(root):
        raise ValueError(f"the study in {root} has no plan yet, as its data are still being looked at; ask in a minute")
    if not isinstance(config, str) or "choices" not in record:
        raise ValueError(f"there is no started study in {root}; give the --output of a study")
    folder = Path(record.get("folder", "."))
    if not (folder / config).is_file():
        raise FileNotFoundError(
            f"{root} was made from {folder / config}, which is not there; put it back, or ask there"
        )
    root = root if folder.absolute() == Path.cwd() else root.absolute()
    with _started_in(folder):
        study, data_root = read_study(Path(config)), record.get("data_root")
        study = without_equal_repeats(study, record.get("facts", {}))
        fleets, data = fleets_of(study, record), Path(data_root) if data_root else None
        jobs, ledger = plan(study, root, fleets, data), Ledger(root)
        reasons = ledger.unfinished(jobs)
        todo = plan(study, root, fleets, data, only=reasons) if reasons else []
    return StudyStatus(root, record, jobs, todo, reasons, ledger, read_notes(root), time.time(), read_lease(root))


@contextmanager
def _started_in(folder: Path) -> Iterator[None]:
    """Find configs, and the modules that they name, as the study did."""
    kept = list(sys.path)
    sys.path.insert(0, str(folder.absolute()))
    try:
        with chdir(folder):
            yield
    finally:
        sys.path[:] = kept


def last_line(log: Path) -> str:
    """The last line of a log that says something, as a terminal shows it."""
    text = log.read_bytes()[-10_000:].decode(errors="replace") if log.is_file() else ""
    lines = [line.rpartition("\r")[2].strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "")
