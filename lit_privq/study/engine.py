"""Runs the jobs of a plan on a pool of workers, as soon as what they need is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import STAGES, Job, Stage, with_needs
from lit_privq.study.progress import StudyProgress
from lit_privq.study.receipt import Receipt
from lit_privq.study.workers import Call, Outcome, Resources

_MOST_LOST = 10  # machines that may be lost under one job before the job is blamed


class Workers(Protocol):
    """What an engine needs of its workers, wherever these are."""

    @property
    def size(self) -> int:
        """How many calls may run or wait at once."""

    @property
    def running(self) -> Sequence[Call]:
        """Calls that were started and have not ended."""

    def start(self, call: Call) -> None:
        """Have a worker make a call; fewer than `size` are running."""

    def wait(self, timeout: float) -> Sequence[tuple[Call, Outcome]]:
        """Calls that ended, waiting up to `timeout` seconds for the first."""


def one_call(pool: Workers, call: Call) -> Outcome:
    """Make one call and wait for its end; no other may be running."""
    pool.start(call)
    while not (ended := pool.wait(timeout=1.0)):
        pass
    return ended[0][1]


class StudyFailed(Exception):
    """Jobs failed; the message names them."""


@dataclass
class Engine:
    """Runs jobs on a pool of workers, keeps the ledger, repeats once what fails.

    Args:
        ledger: of the study's folder; finished jobs are skipped, and what finishes is recorded.
        pool: the workers.
        progress: the display.
        run: ``module:function`` that runs a command line in a worker.
        after_each: called with every job that has been recorded.
        resources: that each stage's jobs need.
        leave_out: whether models that diverge are left out, or stop the study.
    """

    ledger: Ledger
    pool: Workers
    progress: StudyProgress
    run: str
    after_each: Callable[[Job], None] = lambda job: None
    resources: Mapping[Stage, Resources] = field(default_factory=dict)
    leave_out: bool = False
    _diverged: set[str] = field(default_factory=set)
    _finished: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)  # machines lost under each job
    _repeated: set[str] = field(default_factory=set)
    _stop: str = ""
    _open: dict[str, int] = field(default_factory=dict)  # needs of each job that are not finished
    _behind: dict[str, list[Job]] = field(default_factory=dict)  # jobs by what they need

    def execute(self, jobs: Sequence[Job]) -> bool:
        """Run every job that is not finished, each after those it needs.

        Returns:
            Whether models diverged and are left out: what needs them was not run, and a plan without them is next.

        Raises:
            ValueError: if nothing can go on, as where the disk is full; running jobs were finished.
            StudyFailed: if jobs failed; all jobs that do not need them were run.
        """
        by_name = {job.name: job for job in jobs}
        self._open = {job.name: len(job.needs) for job in jobs}
        for job in jobs:
            for need in job.needs:
                self._behind.setdefault(need, []).append(job)
        ready = deque(self._admitted(job for job in jobs if not job.needs))
        while True:
            while ready and not self._stop and len(self.pool.running) < self.pool.size:
                self._start(ready.popleft())
            if not self.pool.running:
                break
            self.progress.show()
            for call, outcome in self.pool.wait(timeout=1.0):
                job = by_name[call.name]
                outcome = outcome if outcome.error else self._taken(job, outcome)
                if not outcome.error:
                    ready += self._record(job, outcome.value, outcome.seconds)
                elif self._fail(job, outcome):
                    ready.appendleft(job)
        self.progress.close()
        self._raise_failures(len(jobs))
        return bool(self._diverged)

    def _admitted(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Those that have to run, of jobs whose needs are finished and of those behind the finished among them."""
        free = deque(jobs)
        while free:
            job = free.popleft()
            if self.ledger.is_finished(job):
                self.progress.finish(job, seconds=0.0)
                free += self._released(job)
            else:
                yield job

    def _released(self, job: Job) -> Iterator[Job]:
        """Jobs of which a finished one was the last unfinished need."""
        self._finished.add(job.name)
        for other in self._behind.pop(job.name, ()):
            self._open[other.name] -= 1
            if not self._open[other.name]:
                yield other

    def _start(self, job: Job) -> None:
        self.pool.start(
            self._call(job, "perform", self.run, job, self.ledger.root, self.ledger.hashes(job), self.leave_out)
        )
        self.progress.begin(job)

    def calls_ahead(self, jobs: Sequence[Job]) -> list[tuple[Stage, list[Call]]]:
        """Calls by stage that look themselves whether what they need is finished, for pools that have a queue."""
        return [
            (stage, [self._ahead(job, jobs) for job in of])
            for stage in STAGES
            if (of := [job for job in jobs if job.stage == stage])
        ]

    def _ahead(self, job: Job, jobs: Sequence[Job]) -> Call:
        return self._call(job, "attempt", self.run, job, self.ledger.root, with_needs(job, jobs), self.leave_out)

    def _call(self, job: Job, function: str, *arguments: object) -> Call:
        needed = self.resources.get(job.stage, Resources())
        log = log_of(job.name, self.ledger.root)
        return Call(job.name, f"lit_privq.study.tasks:{function}", arguments, log, needed, job.products)

    def _taken(self, job: Job, outcome: Outcome) -> Outcome:
        """Take the receipt of a job that ended well, unless a queue held it since before its config changed."""
        self.ledger.take(outcome.value)
        if self.ledger.is_recorded(job):
            return outcome
        return Outcome(error="it was begun for an earlier config, or for other files than are there now")

    def _record(self, job: Job, receipt: Receipt, seconds: float) -> list[Job]:
        """Note that a job ended well; returns those that may start now."""
        self.progress.finish(job, seconds)
        self.after_each(job)
        if not receipt.diverged:
            return list(self._admitted(self._released(job)))
        self._diverged.add(job.name)
        self.progress.say(f"{job.name}: diverged and left out: {', '.join(receipt.diverged)}")
        return []

    def _fail(self, job: Job, outcome: Outcome) -> bool:
        """Say how a job failed; returns whether to start it again."""
        self.progress.fail(job)
        again = not (outcome.is_final or self._stop) and self._may_repeat(job, outcome)
        log = log_of(job.name, self.ledger.root)
        if outcome.stops:
            self._stop = self._stop or f"{outcome.error} ({job.name}, see {log})"
        elif not again:
            self._failed[job.name] = f"failed{'' if outcome.is_final else ' twice'}: {outcome.error}"
        end = "" if outcome.is_final else f"; {log} ends with\n{_last_lines(log)}"
        self.progress.say(f"{job.name} failed: {outcome.error}; {self._next_step(again)}{end}")
        return again

    def _next_step(self, again: bool) -> str:
        """What is done about a failed job."""
        if again:
            return "trying once more"
        if not self._stop:
            return "going on with what does not need it"
        return "finishing what is running" if self.pool.running else "giving up"

    def _may_repeat(self, job: Job, outcome: Outcome) -> bool:
        """A job is repeated once, and whenever it was its machine that was lost."""
        if outcome.is_lost and self._lost.get(job.name, 0) < _MOST_LOST:
            self._lost[job.name] = self._lost.get(job.name, 0) + 1
            return True
        first = job.name not in self._repeated
        self._repeated.add(job.name)
        return first

    def _raise_failures(self, n_jobs: int) -> None:
        """Raise for what did not work."""
        if self._stop:
            raise ValueError(self._stop)
        if self._failed:
            behind = n_jobs - len(self._finished) - len(self._failed) - len(self._diverged)
            raise StudyFailed(_summary(self._failed, behind, self.ledger.root))


def _summary(failed: Mapping[str, str], n_behind: int, root: Path) -> str:
    """Which jobs failed and why, those that failed alike together."""
    alike: dict[str, list[str]] = {}
    for name, how in failed.items():
        alike.setdefault(how, []).append(name)
    reasons = [
        f"{name}{f' and {len(others)} more' if others else ''} {how} (see {log_of(name, root)})"
        for how, (name, *others) in alike.items()
    ]
    return f"{'; '.join(reasons)}; {n_behind} jobs that need them were not run; the same command goes on from here"


def log_of(name: str, root: Path) -> Path:
    """Where a job's output goes."""
    return root / "logs" / f"{name}.log"


def _last_lines(log: Path, n: int = 10) -> str:
    text = log.read_bytes().decode(errors="replace") if log.exists() else ""
    lines = [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]  # as a terminal shows them
    return "\n".join(f"    {line}" for line in lines[-n:])
