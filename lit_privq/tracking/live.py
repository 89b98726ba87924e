"""Runs that are logged to while a command runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_privq.tracking.model_runs import ModelRun, read_runs
from lit_privq.tracking.runs import mode, open_run

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)
Who = tuple[str, int]
"""A variant's name and a model's index."""


@dataclass
class MeanRun:
    """A run that shows one model, or the means over several that report in turn.

    Args:
        run: of W&B.
        n: how many models it shows.
    """

    run: wandb.Run
    n: int
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    summaries: list[Mapping[str, Any]] = field(default_factory=list)

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a model's row; the last of a step logs it."""
        self.rows.append(row)
        if len(self.rows) == self.n:
            self.run.log(means(self.rows))
            self.rows.clear()

    def sum_up(self, summary: Mapping[str, Any]) -> None:
        """Take a model's summary; the last one writes it."""
        self.summaries.append(summary)
        if len(self.summaries) == self.n:
            self.run.summary.update(means(self.summaries))


class LiveRuns:
    """The W&B runs of a command that is run alone: in the folder of a study, and without an account, there are none.

    Whatever goes wrong in W&B is one warning; then there are no more runs, and the command goes on.

    Args:
        project: of W&B; None takes WANDB_PROJECT, then ``lit_privq``.
    """

    def __init__(self, project: str | None = None) -> None:
        self.project = project
        self.root = Path()
        self.runs: dict[Who, MeanRun] = {}

    def open(self, root: Path, group: str | None, who: Sequence[Who]) -> None:
        """Open a run for each model and variant, or with WANDB_RUN_ID one for all; log what their records hold already.

        Args:
            root: the output folder, where the records are.
            group: of the runs; None takes the folder's name.
            who: the models.
        """
        self.root, self.runs = root, {}
        with self._failing_quietly():
            how = mode()
            if how in ("records", "disabled") or (root / "study.json").is_file():
                return
            found = read_runs(root)
            known = {(one.variant.name, one.model): one for one in found.models}
            one_for_all = bool(os.environ.get("WANDB_RUN_ID"))
            for members in [list(who)] if one_for_all else [[one] for one in who]:
                models = [known[one] for one in members]
                run = open_run(
                    root,
                    models[0].name,
                    group=group or found.name,
                    mode=how,
                    job_type=models[0].job_type,
                    config=models[0].config,
                    tags=models[0].tags,
                    project=self.project,
                    alone=one_for_all or len(who) == 1,
                )
                self.runs |= dict.fromkeys(members, MeanRun(run, len(members)))
                self._log_known(members, models)

    def log(self, who: Who, row: Mapping[str, Any]) -> None:
        """Log an epoch or a unit."""
        if who in self.runs:
            with self._failing_quietly():
                self.runs[who].log(row)

    def sum_up(self, who: Who, summary: Mapping[str, Any]) -> None:
        """Write the numbers at the end."""
        if who in self.runs:
            with self._failing_quietly():
                self.runs[who].sum_up(summary)

    def close(self, exit_code: int = 0) -> None:
        """Finish all runs."""
        with self._failing_quietly():
            for one in self._distinct():
                one.run.finish(exit_code=exit_code)
        self.runs = {}

    def _log_known(self, members: Sequence[Who], models: Sequence[ModelRun]) -> None:
        """Log what the models' earlier stages, and epochs before a resume, left; a run that goes on has it."""
        start = self.runs[members[0]].run.step
        for step, rows in enumerate(zip(*(one.history for one in models), strict=False)):
            for who, row in zip(members, rows, strict=True):
                if step >= start:
                    self.runs[who].log(row)
        self.runs[members[0]].run.summary.update(means([one.summary for one in models]))

    def _distinct(self) -> list[MeanRun]:
        return list({id(one): one for one in self.runs.values()}.values())

    @contextmanager
    def _failing_quietly(self) -> Iterator[None]:
        """Turn any failure into one warning."""
        try:
            yield
        except Exception as error:  # of the network, of an account, of a full disk, of W&B's own processes
            self.runs = {}
            logger.warning(said_of(error, self.root))


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers as their means over rows that have them; of anything else the first.

    >>> means([{"epoch": 1, "loss": 2.0, "unit/name": "fc"}, {"epoch": 1, "loss": 3.0, "unit/name": "fc"}])
    {'epoch': 1, 'loss': 2.5, 'unit/name': 'fc'}
    """
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: _mean(values) if isinstance(values[0], float) else values[0] for name, values in found.items()}


def said_of(error: Exception, root: Path) -> str:
    """A failure of W&B in one sentence, with what to do about the records in a folder."""
    what = " ".join(str(error).split()) or type(error).__name__
    return (
        f"Weights & Biases failed ({what}), and this command goes on without it; its records are kept, and "
        f"`python -m lit_privq publish {root}` uploads them later"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
