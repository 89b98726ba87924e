"""Plans without the models that diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lit_privq.study.ledger import DIVERGED, Ledger
from lit_privq.study.plan import Fleets, Job, plan
from lit_privq.study.study_file import Study


@dataclass(frozen=True)
class Planned:
    """All jobs of a study as things stand.

    Args:
        jobs: finished or not.
        reasons: why files have to be made, see `Ledger.unfinished`.
        left_out: models that diverged and of which nothing more is made.
    """

    jobs: list[Job]
    reasons: Mapping[str, str]
    left_out: tuple[int, ...] = ()


def planned(study: Study, root: Path, fleets: Fleets, data_root: Path | None, ledger: Ledger) -> Planned:
    """The jobs of a study, less the models that diverged where the study leaves these out.

    A model that diverged in one recipe or at one precision is left out of all, as differences between variants are
    taken model by model.

    Raises:
        ValueError: if too few models are left to audit.
    """
    jobs = plan(study, root, fleets, data_root)
    reasons = ledger.unfinished(jobs)
    lost = sorted({int(Path(path).stem) for path, reason in reasons.items() if reason == DIVERGED})
    if not lost or study.on_divergence == "stop":
        return Planned(jobs, reasons)
    shadows = [model for model in lost if model < study.n_shadows]
    if study.n_shadows - len(shadows) < 2 or len(lost) - len(shadows) == study.n_targets:
        raise ValueError(
            f"{len(shadows)} of {study.n_shadows} shadows and {len(lost) - len(shadows)} of {study.n_targets} targets "
            "diverged, too many for an audit of the rest; change the recipe, such as a lower learning rate"
        )
    jobs = plan(study, root, fleets, data_root, left_out=lost)
    return Planned(jobs, ledger.unfinished(jobs), tuple(lost))


def todo_of(study: Study, root: Path, fleets: Fleets, data_root: Path | None, found: Planned) -> list[Job]:
    """The jobs that are left, each told only of what is left of it."""
    if not found.reasons:
        return []
    return plan(study, root, fleets, data_root, only=found.reasons, left_out=found.left_out)
