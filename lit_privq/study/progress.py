"""One display over everything a study does: stages, models done, time left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from lit_privq.study.plan import STAGES, Job, Stage


class Progress:
    """A line that is rewritten on a terminal, and a line now and then elsewhere.

    Args:
        jobs: all jobs of the study.
        size: how many run at once.
        stream: where it is shown.
        clock: seconds, from anywhere.
    """

    def __init__(
        self, jobs: Sequence[Job], size: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.jobs, self.size, self.stream, self.clock = jobs, size, stream, clock
        self.start = clock()
        self._done: set[str] = set()
        self._work: dict[Stage, list[tuple[int, float]]] = {}  # models and seconds of the jobs done
        self._began: dict[str, float] = {}
        self._shown, self._shown_at = "", -float("inf")

    def begin(self, job: Job) -> None:
        """A job was started."""
        self._began[job.name] = self.clock()

    def fail(self, job: Job) -> None:
        """A job ended, but not well."""
        self._began.pop(job.name, None)

    def finish(self, job: Job, seconds: float) -> None:
        """A job ended well, now or at an earlier start of the study."""
        self._began.pop(job.name, None)
        self._done.add(job.name)
        self._work.setdefault(job.stage, []).append((_units(job), seconds))

    def say(self, text: str) -> None:
        """Show something that stays."""
        blank = " " * len(self._shown) if self.stream.isatty() else ""
        self.stream.write(f"\r{blank}\r{text}\n" if blank else f"{text}\n")
        self.stream.flush()
        self._shown = ""

    def show(self) -> None:
        """Bring the display up to date, if that is due."""
        now = self.clock()
        counts = self.counts()
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            line = f"{counts}; {self.time_left()}"[:width]
            self.stream.write(f"\r{line:{len(self._shown)}}")
            self._shown = line
        elif now - self._shown_at >= (10.0 if counts == self._shown else 1.0):
            self.stream.write(f"{counts}; {duration(now - self.start)} gone, {self.time_left()}\n")
            self._shown, self._shown_at = counts, now
        self.stream.flush()

    def close(self) -> None:
        """Leave the last state of the display standing."""
        self._shown_at = -float("inf")
        self.show()
        if self.stream.isatty():
            self.stream.write("\n")
            self.stream.flush()

    def counts(self) -> str:
        """Stages with the models done and to do."""
        return ", ".join(
            f"{stage} {sum(_units(job) for job in jobs if job.name in self._done)}/{sum(map(_units, jobs))}"
            for stage in STAGES
            if (jobs := [job for job in self.jobs if job.stage == stage])
        )

    def time_left(self) -> str:
        """How long the rest will take, going by what each stage took so far."""
        left = [(job, self._seconds(job)) for job in self.jobs if job.name not in self._done]
        known = [max(0.0, seconds - self._elapsed(job)) for job, seconds in left if seconds is not None]
        if not left:
            return "done"
        if not sum(known) and len(known) < len(left):
            return "time left unknown yet"
        return f"{'about' if len(known) == len(left) else 'more than'} {duration(sum(known) / self.size)} left"

    def _seconds(self, job: Job) -> float | None:
        """What a job will take, None if no job of its stage is done."""
        if not (work := self._work.get(job.stage)):
            return 0.0 if job.stage in ("audit", "report") else None
        seconds = sum(seconds for _, seconds in work)
        return _units(job) * seconds / sum(models for models, _ in work)

    def _elapsed(self, job: Job) -> float:
        return self.clock() - self._began[job.name] if job.name in self._began else 0.0


def _units(job: Job) -> int:
    """What a job counts for: its models."""
    return len(job.models) or 1


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(7.4), duration(75), duration(8000)
    ('7 s', '1 min 15 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
