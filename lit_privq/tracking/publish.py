"""A study's folder as W&B runs: one for each model and variant, and one for the study, with lineage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.tracking.model_runs import ModelRun, StudyRuns, read_runs
from lit_privq.tracking.runs import Mode, log_history, open_run
from lit_privq.tracking.tables import concluded, measured

if TYPE_CHECKING:
    import wandb


def publish(root: Path, how: Mode, upload: bool = False) -> int:
    """Make W&B runs of what a study's folder holds, finished or not; those of an earlier start are gone on with.

    Args:
        root: the study's folder.
        how: online, shared, or offline, which writes W&B's files to ``root/wandb``.
        upload: whether checkpoints and confidences are uploaded; otherwise W&B keeps references to the files.

    Returns:
        The number of runs.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a file in it is damaged.
    """
    found = read_runs(root)
    with _data_in(root / "wandb"), _opened(_study_run(root, found, how)) as study:
        files = _Files(root, found.name, how, upload)
        files.log(study, "split", "split", [_split_file(root, found)])
        models = [] if os.environ.get("WANDB_SWEEP_ID") else found.models  # a sweep has one run for each command
        for one in models:
            _publish_model(root, found, one, how, files)
        used = [files.use(study, "confidences", one.name) for one in models]
        audit = [root / name for name in ("results.csv", "metrics.json", "report.html")]
        files.log(study, "audit", "audit", audit, made_from=used)
        _log_study(study, root, found)
    return 1 + len(models)


def _study_run(root: Path, found: StudyRuns, how: Mode) -> wandb.Run:
    """The study's own run."""
    tags = dict.fromkeys(tag for one in found.models for tag in one.tags[:3])
    return open_run(
        root, "study", group=found.name, mode=how, job_type="study", config=found.study, tags=[*tags], alone=True
    )


def _publish_model(root: Path, found: StudyRuns, one: ModelRun, how: Mode, files: _Files) -> None:
    """The run of a model at a variant: history, summary, and what it was made from and what was made."""
    run = open_run(root, one.name, group=found.name, mode=how, job_type=one.job_type, config=one.config, tags=one.tags)
    with _opened(run):
        log_history(run, one.history)
        run.summary.update(dict(one.summary))
        kind = "quantized_checkpoint" if one.variant.quantized else "checkpoint"
        made_from = ("checkpoint", one.parent) if one.variant.quantized else ("split", "split")
        checkpoint = root / "checkpoints" / one.variant.name / f"{one.model:03d}.ckpt"
        confidences = root / "confidence" / one.variant.name / f"{one.model:03d}.npz"
        made = files.log(run, kind, one.name, [checkpoint], made_from=[files.use(run, *made_from)])
        files.log(run, "confidences", one.name, [confidences], made_from=[made])


def _log_study(run: wandb.Run, root: Path, found: StudyRuns) -> None:
    """Tables and figures."""
    import wandb

    images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((root / "figures").glob("*.png"))}
    tables = {}
    if found.results and found.measures:
        rows = {"results": measured(found.results), "conclusions": concluded(found.results, found.measures)}
        tables = {name: wandb.Table([*part[0]], [[*row.values()] for row in part]) for name, part in rows.items()}
    if images or tables:
        run.log({**tables, **images})


@dataclass
class _Files:
    """Artifacts: files that one run logs and others use.

    Args:
        root: the study's folder.
        study: its name.
        how: the mode of W&B. Offline, only ``made_from`` in an artifact's metadata tells of a use, until `publish` is
            repeated with an account: W&B can record it by logging the artifact a second time, in the file of the run
            that uses it, but `wandb sync` uploads files side by side, and whichever comes first is called the maker.
        upload: whether the files themselves go along.
    """

    root: Path
    study: str
    how: Mode
    upload: bool

    def __post_init__(self) -> None:
        self.logged: set[str] = set()

    def log(self, run: wandb.Run, kind: str, name: str, paths: Sequence[Path], made_from: Sequence[str] = ()) -> str:
        """Log those of the files that there are as a run's output; returns the artifact's name, empty without files."""
        import wandb

        paths = [path for path in paths if path.is_file()]
        if not paths:
            return ""
        metadata = {"made_from": [source for source in made_from if source]}
        artifact = wandb.Artifact(self._name(kind, name), kind, metadata=metadata)
        for path in paths:
            if self.upload:
                artifact.add_file(str(path), policy="immutable", skip_cache=True)
            else:
                artifact.add_reference(path.absolute().as_uri(), path.name)
        run.log_artifact(artifact)
        if self.how != "offline":
            artifact.wait()  # so that the next run finds it
        self.logged.add(self._name(kind, name))
        return self._name(kind, name)

    def use(self, run: wandb.Run, kind: str, name: str) -> str:
        """Tell W&B that a run was made from another's output; returns its name, empty if that was not logged."""
        artifact = self._name(kind, name)
        if artifact not in self.logged:
            return ""
        if self.how != "offline":
            run.use_artifact(f"{artifact}:latest")
        return artifact

    def _name(self, kind: str, name: str) -> str:
        """An artifact's name, of the characters that W&B takes."""
        whole = f"{self.study}-{name}" if kind == name else f"{self.study}-{kind}-{name}"
        spelled = whole.replace("~", "_repeat").replace("@", "_of_")
        return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in spelled)


def _split_file(root: Path, found: StudyRuns) -> Path:
    """A file that says who trains on what: everything that the memberships follow from."""
    first = next((one.config for one in found.models if "train" in one.config), {})
    data = first.get("train", {}).get("data") or {}
    split = {key: data.get(key) for key in ("dataset", "n_shadows", "n_targets", "split_seed")}
    path = root / "wandb" / "records" / "split.json"
    atomic_write_bytes(path, (json.dumps(split, indent=2, default=str) + "\n").encode())
    return path


@contextmanager
def _opened(run: wandb.Run) -> Iterator[wandb.Run]:
    """Finish a run, as failed where that is so."""
    try:
        yield run
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


@contextmanager
def _data_in(folder: Path) -> Iterator[None]:
    """Have W&B keep what it stages for an upload with the study, not in the home folder, unless told otherwise."""
    given = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = given or str(folder.absolute())
    try:
        yield
    finally:
        if given is None:
            del os.environ["WANDB_DATA_DIR"]
