"""One display over everything a study does: a bar for each stage, rates, time left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import STAGES, Job, Stage

_WIDTH = 24  # characters of a whole bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class StudyProgress:
    """Bars that are drawn again and again on a terminal, and a line now and then elsewhere.

    Args:
        jobs: those to do.
        size: how many run at once.
        stream: where it is shown.
        clock: seconds, from anywhere.
        earlier: by stage, how many models (of each precision) earlier starts finished, and in how many seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        size: int,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        earlier: Mapping[Stage, tuple[int, float]] | None = None,
    ) -> None:
        self.jobs, self.size, self.stream, self.clock = jobs, size, stream, clock
        self.start = clock()
        self._earlier = dict(earlier or {})
        self._done: set[str] = set()
        self._work: dict[Stage, list[tuple[int, float]]] = {stage: [work] for stage, work in self._earlier.items()}
        self._began: dict[str, float] = {}
        self._first: dict[Stage, float] = {}  # when a stage began, in this start of the study
        self._shown, self._shown_at = "", -float("inf")

    def begin(self, job: Job, at: float | None = None) -> None:
        """A job was started, now or at a time of the clock."""
        self._began[job.name] = self.clock() if at is None else at
        self._first.setdefault(job.stage, self._began[job.name])

    def fail(self, job: Job) -> None:
        """A job ended, but not well."""
        self._began.pop(job.name, None)

    def finish(self, job: Job, seconds: float) -> None:
        """A job ended well; in no seconds if it turned out to be finished already."""
        self._began.pop(job.name, None)
        self._done.add(job.name)
        if seconds:
            self._work.setdefault(job.stage, []).append((job.size, seconds))

    def say(self, text: str) -> None:
        """Show something that stays."""
        self.stream.write(f"{self._erased()}{text}\n")
        self.stream.flush()

    def show(self) -> None:
        """Bring the display up to date, if that is due."""
        now = self.clock()
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            text = "\n".join(line[:width] for line in self.lines())
            self.stream.write(self._erased() + text)
            self._shown = text
        elif now - self._shown_at >= (10.0 if self.counts() == self._shown else 1.0):
            self._shown, self._shown_at = self.counts(), now
            self.stream.write(f"{self._shown}; {duration(now - self.start)} gone, {self.time_left()}\n")
        self.stream.flush()

    def close(self) -> None:
        """Leave the last state of the display standing."""
        self._shown_at = -float("inf")
        self.show()
        if self.stream.isatty():
            self.stream.write("\n")
            self.stream.flush()
            self._shown = ""

    def lines(self) -> list[str]:
        """What a terminal shows: a bar for each stage, then the time and what is running."""
        bars = [
            f"{stage:8} {self._bar(done, total)} {done:{len(str(total))}}/{total}{self._rate(stage)}"
            for stage in STAGES
            for done, total in [self._count(stage)]
            if total
        ]
        running = [f"{name} ({duration(self.clock() - began)})" for name, began in self._began.items()]
        ahead = f"; running: {', '.join(running)}" if running else ""
        return [*bars, f"{duration(self.clock() - self.start)} gone, {self.time_left()}{ahead}"]

    def _bar(self, done: int, total: int) -> str:
        """A bar, in eighths of a character where the terminal has these."""
        eighths = 8 * _WIDTH * done // total
        if "utf" not in (getattr(self.stream, "encoding", None) or "utf").lower():
            return "#" * (eighths // 8) + "." * (_WIDTH - eighths // 8)
        return (_EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8]).strip(" ").ljust(_WIDTH)

    def _rate(self, stage: Stage) -> str:
        """How fast models get done in this start of the study, where one was."""
        done = sum(job.size for job in self.jobs if job.stage == stage and job.name in self._done)
        seconds = self.clock() - self._first[stage] if stage in self._first else 0.0
        unfinished = any(job.stage == stage and job.name not in self._done for job in self.jobs)
        return f"  {rate(done / seconds)}" if done and seconds > 0 and unfinished else ""

    def _erased(self) -> str:
        """What takes the bars off a terminal."""
        if not self.stream.isatty() or not self._shown:
            return ""
        up = self._shown.count("\n")
        self._shown = ""
        return ("\r" + (f"\x1b[{up}A" if up else "")) + "\x1b[J"

    def counts(self) -> str:
        """Stages with the models done and to do."""
        return ", ".join(f"{stage} {done}/{total}" for stage in STAGES for done, total in [self._count(stage)] if total)

    def _count(self, stage: Stage) -> tuple[int, int]:
        earlier = self._earlier.get(stage, (0, 0.0))[0]
        jobs = [job for job in self.jobs if job.stage == stage]
        done = sum(job.size for job in jobs if job.name in self._done)
        return earlier + done, earlier + sum(job.size for job in jobs)

    def time_left(self) -> str:
        """How long the rest will take, going by what each stage took so far; what is not known is not counted."""
        left = [job for job in self.jobs if job.name not in self._done]
        if not left:
            return "done"
        seconds = {job.name: self._seconds_left(job) for job in left}
        known = {name: value for name, value in seconds.items() if value is not None}
        alone = sum(known.get(job.name, 0.0) for job in left if job.stage in ("audit", "report"))
        shared = [known[job.name] for job in left if job.stage not in ("audit", "report") and job.name in known]
        total = alone + max(sum(shared) / self.size, max(shared, default=0.0))
        if len(known) < len(left) and total < 1:
            return "time left unknown yet"
        return f"{'about' if len(known) == len(left) else 'more than'} {duration(total)} left"

    def _seconds_left(self, job: Job) -> float | None:
        """What a job will still take; None if no job of its stage is done, or it takes longer than these did."""
        work = self._work.get(job.stage, ())
        if not sum(size for size, _ in work):
            return None
        rest = job.size * sum(seconds for _, seconds in work) / sum(size for size, _ in work)
        if job.name in self._began:
            rest -= self.clock() - self._began[job.name]
        return rest if rest > 0 else None


def finished_work(jobs: Sequence[Job], reasons: Mapping[str, str], ledger: Ledger) -> dict[Stage, tuple[int, float]]:
    """By stage, what earlier starts finished and the seconds that went into it.

    Args:
        jobs: all of a study.
        reasons: by file, why it has to be made.
        ledger: of its finished files.
    """
    work: dict[Stage, tuple[int, float]] = {}
    for stage in STAGES:
        done = [p for job in jobs if job.stage == stage for p in job.products if p.path not in reasons]
        n = min(len(done), 1) if stage in ("audit", "report") else len(done)
        work |= {stage: (n, ledger.seconds(done))} if n else {}
    return work


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(7.4), duration(75), duration(8000)
    ('7 s', '1 min 15 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def rate(per_second: float) -> str:
    """How often something happens, for people.

    >>> rate(3.2), rate(0.5), rate(0.002)
    ('3.2/s', '30/min', '7.2/h')
    """
    unit, factor = next(((u, f) for u, f in (("s", 1), ("min", 60)) if per_second * f >= 1), ("h", 3600))
    return f"{per_second * factor:.3g}/{unit}"
