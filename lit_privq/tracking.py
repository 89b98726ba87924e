"""Weights & Biases runs: opened in one place, and the one that holds a study's tables and figures."""

from __future__ import annotations

import json
import os
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from lit_privq.artifacts.measures import Measures, read_measures
from lit_privq.artifacts.results import Key, Results, read_results

if TYPE_CHECKING:
    import wandb

PROJECT = "lit_privq"
_MEAN = ("value", "low", "high", "verdict")
_CHANGE = ("value", "low", "high", "p", "holm", "verdict")


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
    """Log a finished study: its record as the config, results.csv and metrics.json as tables, every figure."""
    import wandb

    results = read_results(folder / "results.csv")
    measures = read_measures(folder / "metrics.json", results)
    record = folder / "study.json"
    config = json.loads(record.read_text()) if record.is_file() else {}
    run = open_run(folder, "report", "report", config)
    images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((folder / "figures").glob("*.png"))}
    tables = {"results": measured(results), "conclusions": concluded(results, measures)}
    logged = {name: wandb.Table([*rows[0]], [[*row.values()] for row in rows]) for name, rows in tables.items()}
    run.log({**logged, **images})
    run.finish()


def measured(results: Results) -> list[dict[str, Any]]:
    """results.csv as rows of numbers; None where there is none."""
    return [
        {"variant": key.variant.name, "method": key.variant.method, "bits": key.variant.bits, "target": target}
        | {"attacker": key.attacker, "attack": key.attack, "metric": key.metric}
        | _numbers("", own._asdict())
        for key, values in results.series.items()
        for target, own in values.items()
    ]


def concluded(results: Results, measures: Measures) -> list[dict[str, Any]]:
    """A row for each variant: leakage and utility and their changes, as the audit judged them."""
    focus, rows = measures.focus, []
    for variant in results.variants:
        leak, useful = focus.key(variant), Key(variant, focus.utility)
        rows.append(
            {"variant": variant.name, "metric": focus.metric, "attack": focus.attack, "attacker": leak.attacker}
            | _numbers("leakage ", _fields(measures.means.get(leak), _MEAN))
            | _numbers("leakage change ", _fields(measures.changes.get(leak), _CHANGE))
            | _numbers("utility ", _fields(measures.means.get(useful), _MEAN))
            | _numbers("utility change ", _fields(measures.changes.get(useful), _CHANGE))
        )
    return rows


def _fields(found: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a record; None where there is no record."""
    return {name: getattr(found, name, None) for name in names}


def _numbers(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields under names with a prefix; None for what could not be measured, since a table mixes badly with NaN."""
    return {
        f"{prefix}{name}": None if isinstance(value, float) and isnan(value) else value
        for name, value in fields.items()
    }
