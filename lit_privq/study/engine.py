"""Runs the jobs of a plan on a pool of workers, as soon as what they need is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import Job
from lit_privq.study.progress import StudyProgress
from lit_privq.study.workers import Call, Outcome, WorkerPool


class StudyFailed(Exception):
    """Jobs failed twice; the message names them."""


@dataclass
class Engine:
    """Runs jobs on a pool of workers, keeps the ledger, repeats once what fails.

    Args:
        ledger: of the study's folder; finished jobs are skipped, and what finishes is recorded.
        pool: the workers.
        progress: the display.
        run: ``module:function`` that runs a command line in a worker.
        after_each: called whenever a job has been recorded.
    """

    ledger: Ledger
    pool: WorkerPool
    progress: StudyProgress
    run: str
    after_each: Callable[[], None] = lambda: None
    _finished: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)
    _repeated: set[str] = field(default_factory=set)
    _stop: str = ""

    def execute(self, jobs: Sequence[Job]) -> None:
        """Run every job that is not finished, each after those it needs.

        Raises:
            ValueError: if a job failed for a reason that only the user can correct; running jobs were finished.
            StudyFailed: if a job failed twice; all jobs that do not need it were run.
        """
        by_name = {job.name: job for job in jobs}
        waiting, ready = list(jobs), list[Job]()
        while True:
            ready += self._ready(waiting)
            while ready and not self._stop and len(self.pool.running) < self.pool.size:
                self._start(ready.pop(0))
            if not self.pool.running:
                break
            self.progress.show()
            for call, outcome in self.pool.wait(timeout=1.0):
                if self._record_outcome(by_name[call.name], outcome):
                    ready.insert(0, by_name[call.name])
        self.progress.close()
        self._raise_failures(len(jobs))

    def _ready(self, waiting: list[Job]) -> list[Job]:
        """Remove jobs whose needs are met from the list; return those that have to run."""
        admitted = []
        for job in list(waiting):  # in an order that respects needs: one pass sees all that are finished
            if self._finished.issuperset(job.needs):
                waiting.remove(job)
                if self.ledger.is_finished(job):
                    self._finished.add(job.name)
                    self.progress.finish(job, seconds=0.0)
                else:
                    admitted.append(job)
        return admitted

    def _start(self, job: Job) -> None:
        arguments = (self.run, job, self.ledger.root, self.ledger.hashes(job))
        self.pool.start(Call(job.name, "lit_privq.study.tasks:perform", arguments, log_of(job.name, self.ledger.root)))
        self.progress.begin(job)

    def _record_outcome(self, job: Job, outcome: Outcome) -> bool:
        """Record how a job ended; returns whether to start it again."""
        if not outcome.error:
            self.ledger.take(outcome.value)
            self._finished.add(job.name)
            self.progress.finish(job, outcome.seconds)
            self.after_each()
            return False
        self.progress.fail(job)
        again = not (outcome.is_final or self._stop or job.name in self._repeated)
        self._repeated.add(job.name)
        log = log_of(job.name, self.ledger.root)
        if outcome.is_final:
            self._stop = self._stop or f"{outcome.error} ({job.name}, see {log})"
        elif not again:
            self._failed[job.name] = outcome.error
        what = "trying once more" if again else "finishing what is running" if self.pool.running else "giving up"
        end = "" if outcome.is_final else f"; {log} ends with\n{_last_lines(log)}"
        self.progress.say(f"{job.name} failed: {outcome.error}; {what}{end}")
        return again

    def _raise_failures(self, n_jobs: int) -> None:
        """Raise for what did not work."""
        if self._stop:
            raise ValueError(self._stop)
        if self._failed:
            raise StudyFailed(_summary(self._failed, n_jobs - len(self._finished) - len(self._failed)))


def _summary(failed: Mapping[str, str], n_behind: int) -> str:
    reasons = "; ".join(f"{name} failed twice: {reason}" for name, reason in failed.items())
    return f"{reasons}; {n_behind} jobs that need them were not run; the same command goes on from here"


def log_of(name: str, root: Path) -> Path:
    """Where a job's output goes."""
    return root / "logs" / f"{name}.log"


def _last_lines(log: Path, n: int = 10) -> str:
    text = log.read_bytes().decode(errors="replace") if log.exists() else ""
    lines = [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]  # as a terminal shows them
    return "\n".join(f"    {line}" for line in lines[-n:])
