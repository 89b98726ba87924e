"""Workers that SLURM starts: an array of jobs per stage, each stage behind those it needs."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Self

from lit_privq.study.workers import Call, Outcome, Resources, run_call

_MOST = 1_000_000  # calls at once: SLURM has the queue
_ARRAY = 1000  # jobs in an array, which SLURM limits to 1001 unless a site says otherwise
_MINUTES = 24 * 60  # that a job may take, unless --slurm.time says otherwise
_SUBMITTED = "_submitted.pkl"  # file of a job behind its number, as submitit names it
_LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL")


@dataclass(frozen=True)
class SlurmTask:
    """What an array's job runs: one call, its output in the call's log.

    Args:
        call: to make.
        environment: set before anything is imported.
        path: where modules are found.
    """

    call: Call
    environment: Mapping[str, str]
    path: Sequence[str] = field(default_factory=lambda: list(sys.path))

    def __call__(self) -> Outcome:
        """Make the call."""
        # Lightning would take the job for its own and requeue it too; an interactive one it leaves alone.
        os.environ.update({**self.environment, "SLURM_JOB_NAME": "interactive"})
        sys.path[:] = self.path
        return run_call(self.call)

    def checkpoint(self) -> Any:  # noqa: ANN401  # submitit's
        """What is requeued when SLURM preempts or times the job out: the same, which finds its resume checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmPool:
    """Calls as SLURM jobs, by submitit; they outlive this process, and its successor finds them.

    What tells of a job is the file from which submitit lets it read its call; there is no record beside it that could
    be behind. A job that got no file, as its driver was killed while it submitted, ends by itself after a minute.

    Args:
        root: the study's folder, which all machines see.
        environment: set in the jobs before they import anything.
        options: of sbatch, such as ``{"partition": "gpu", "time": "60"}``.
        cluster: ``slurm``, or ``local`` for processes of this machine.

    Raises:
        ValueError: if submitit is not installed, this is no SLURM cluster, or an option is not one of sbatch's.
    """

    def __init__(
        self, root: Path, environment: Mapping[str, str], options: Mapping[str, str], cluster: str = "slurm"
    ) -> None:
        self._submitit = _submitit()
        self.root, self.environment, self.options, self.cluster = root, environment, options, cluster
        self._jobs: dict[str, Any] = {}  # submitted, by name of the call
        self._calls: dict[str, Call] = {}  # watched
        self._new: list[Call] = []
        try:
            self._executor()
        except RuntimeError as error:
            raise ValueError(f"--engine slurm must run where sbatch is; {error}") from error
        sbatch_script(root, "check", Resources(), 1, options, ())  # refuses options that sbatch has not

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave jobs running for the next start, unless Ctrl-C says to cancel them."""
        if kind is KeyboardInterrupt:
            self._cancel_all()

    @property
    def size(self) -> int:
        """Calls that may run or wait."""
        return _MOST

    @property
    def running(self) -> list[Call]:
        """Calls that were started and have not ended."""
        return list(self._calls.values())

    def submit_ahead(self, stages: Sequence[tuple[str, Sequence[Call]]]) -> None:
        """Submit calls before those they need have ended, each stage's behind the jobs of the stages before it.

        A stage waits for the ends of those jobs, good or bad: a failed job must not hold up what does not need it.
        Jobs that an earlier start submitted are taken over, and cancelled where they would do something else by now.

        Args:
            stages: names and calls, in the order in which they need each other.
        """
        self._take_over({call.name: call for _, calls in stages for call in calls})
        before: list[str] = []
        for stage, calls in stages:
            new = [call for call in calls if call.name not in self._jobs]
            self._submit(stage, new, after=before)
            before += sorted({self._jobs[call.name].job_id.partition("_")[0] for call in calls})

    def start(self, call: Call) -> None:
        """Watch a call; it is submitted with others by the next `wait`, unless it was submitted ahead."""
        self._calls[call.name] = call
        if call.name not in self._jobs:
            self._new.append(call)

    def wait(self, timeout: float) -> list[tuple[Call, Outcome]]:
        """Calls that ended, waiting up to `timeout` seconds for the first."""
        for _, calls in itertools.groupby(sorted(self._new, key=_needs), key=_needs):
            self._submit("more", list(calls))
        self._new = []
        deadline = time.monotonic() + timeout
        while not (ended := [name for name in self._calls if self._jobs[name].done()]):
            if time.monotonic() >= deadline:
                return []
            time.sleep(min(0.2, timeout))
        return [(self._calls.pop(name), self._outcome(self._jobs.pop(name))) for name in ended]

    def _cancel_all(self) -> None:
        """Cancel every job that was submitted, those that wait for others too, each array at once."""
        whole = {job.job_id.partition("_")[0]: job for job in self._jobs.values()}
        for number, job in whole.items():
            array = job if number == job.job_id else self._job(number)
            array.cancel(check=False)
        for job in self._jobs.values():
            job.paths.submitted_pickle.unlink(missing_ok=True)

    def _job(self, number: str) -> Any:  # noqa: ANN401  # submitit's
        kind = self._submitit.SlurmJob if self.cluster == "slurm" else self._submitit.LocalJob
        return kind(folder=self.root / "slurm", job_id=number)

    def _submit(self, stage: str, calls: Sequence[Call], after: Sequence[str] = ()) -> None:
        """Submit calls of equal resources as arrays."""
        for start in range(0, len(calls), _ARRAY):
            share = calls[start : start + _ARRAY]
            executor = self._executor()
            ours = parameters(stage, share[0].resources, self.options, after)
            executor.update_parameters(timeout_min=_MINUTES, **{f"slurm_{key}": value for key, value in ours.items()})
            with executor.batch():
                jobs = [executor.submit(SlurmTask(call, self.environment)) for call in share]
            self._jobs |= {call.name: job for call, job in zip(share, jobs, strict=True)}

    def _take_over(self, asked: Mapping[str, Call]) -> None:
        """Watch for jobs of an earlier start that do what is asked for, or just did, and cancel others."""
        self._jobs = {}
        for call, job in self._found():
            is_wanted = call.name not in self._jobs and call.name in asked and call.makes == asked[call.name].makes
            if is_wanted and not (job.done() and self._outcome(job).error):
                self._jobs[call.name] = job
            else:
                _cancel(job)

    def _found(self) -> Iterator[tuple[Call, Any]]:
        """Jobs that an earlier start submitted and of which no start has seen the end."""
        from submitit.helpers import DelayedSubmission

        for path in sorted((self.root / "slurm").glob(f"*{_SUBMITTED}")):
            task: Any = DelayedSubmission.load(path).function
            yield task.call, self._job(path.name.removesuffix(_SUBMITTED))

    def _executor(self) -> Any:  # noqa: ANN401  # submitit's
        return self._submitit.AutoExecutor(self.root / "slurm", cluster=self.cluster)

    def _outcome(self, job: Any) -> Outcome:  # noqa: ANN401  # submitit's
        job.paths.submitted_pickle.unlink(missing_ok=True)  # no later start needs to ask after it
        try:
            outcome: Outcome = job.result()
        except Exception as error:  # of submitit, or what the job could not even begin with
            state = str(job.state)
            said = " ".join(str(error).split())[-300:]
            return Outcome(error=f"its SLURM job {job.job_id} ended as {state}: {said}", is_lost=state in _LOST)
        return outcome


def _cancel(job: Any) -> None:  # noqa: ANN401  # submitit's
    """Cancel a job unless it has ended, and have no later start find it."""
    if not job.done():
        job.cancel(check=False)  # it may end this very moment
    job.paths.submitted_pickle.unlink(missing_ok=True)


def _needs(call: Call) -> tuple[float, ...]:
    """What a call takes, to be sorted by."""
    return astuple(call.resources)


def parameters(
    stage: str, resources: Resources, options: Mapping[str, str], after: Sequence[str]
) -> dict[str, str | int]:
    """Parameters of an sbatch script: what a call takes, then what the user says, who wins.

    Args:
        stage: names the job.
        resources: of each job in the array.
        options: of sbatch; those of GPUs go to the jobs that take one.
        after: job numbers whose ends are waited for.
    """
    ours: dict[str, str | int] = {"job_name": f"lit_privq-{stage}", "cpus_per_task": resources.cpus, "time": _MINUTES}
    if resources.memory:
        ours["mem"] = f"{-(-resources.memory // 2**20)}MB"
    if resources.asked and resources.gpu and not any(map(_is_of_gpus, options)):
        ours["gpus_per_node"] = 1  # SLURM divides none
    if after:
        ours["dependency"] = f"afterany:{':'.join(after)}"
    given = {key: value for key, value in options.items() if resources.gpu or not _is_of_gpus(key)}
    return ours | {key: int(value) if value.isdigit() else value for key, value in given.items()}


def _is_of_gpus(option: str) -> bool:
    return option.startswith(("gpu", "gres"))


def sbatch_script(
    root: Path, stage: str, resources: Resources, n: int, options: Mapping[str, str], after: Sequence[str]
) -> str:
    """The sbatch script of an array of ``n`` jobs, as submitit writes it.

    Raises:
        ValueError: for an option that sbatch does not have.
    """
    _submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{sys.executable} -u -m submitit.core._submit {root / 'slurm'}"
    ours: dict[str, Any] = parameters(stage, resources, options, after)
    try:
        script: str = _make_sbatch_string(command=command, folder=root / "slurm", map_count=n, **ours)
    except TypeError as error:
        raise ValueError(f"--slurm.NAME must be an option of sbatch; {error}") from error
    return script


def _submitit() -> Any:  # noqa: ANN401  # a module
    try:
        import submitit
    except ImportError as error:
        raise ValueError("--engine slurm needs submitit; install it with: pip install 'lit_privq[slurm]'") from error
    return submitit
