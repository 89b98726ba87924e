"""Weights & Biases runs: opened in one place, and the one that holds a study's tables and figures."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import wandb

PROJECT = "lit_privq"


MODES = ("online", "offline", "disabled", "shared")


def check_mode() -> None:
    """Refuse a WANDB_MODE that W&B does not know, before anything is trained.

    Raises:
        ValueError: naming the modes.
    """
    mode = os.environ.get("WANDB_MODE")
    if mode and mode not in MODES:
        raise ValueError(f"WANDB_MODE must be one of {', '.join(MODES)}; got {mode}, set or unset it")


def open_run(
    folder: Path, name: str, stage: str, config: dict[str, Any], project: str = PROJECT, group: str | None = None
) -> wandb.Run:
    """Open one run, beside others of this process; offline unless the user is logged in or WANDB_MODE says otherwise.

    Args:
        folder: of the study; its name groups the runs where ``group`` is None, and ``folder/wandb`` holds their files.
        name: of the run.
        stage: train, quantize, query or report.
        config: resolved configuration.
        project: of W&B.
        group: of the runs.
    """
    import wandb

    check_mode()
    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    return wandb.init(
        project=project,
        group=group or folder.absolute().name,
        job_type=stage,
        name=name,
        dir=folder,
        config=config,
        mode=cast(Literal["online", "offline", "disabled", "shared"], mode),
        reinit="create_new",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_save_requirements=False),
    )


def publish(folder: Path) -> None:
    """Log a finished study: its record as the config, results.csv as a table, every figure as an image."""
    import wandb

    with (folder / "results.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    record = folder / "study.json"
    config = json.loads(record.read_text()) if record.is_file() else {}
    run = open_run(folder, "report", "report", config)
    images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((folder / "figures").glob("*.png"))}
    run.log({"results": wandb.Table(columns=[*header], data=[*rows]), **images})
    run.finish()
