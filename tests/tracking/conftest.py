from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.tracking.records import StageRecord, add_row, add_summary, record_path, start_record

LEAKS = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-2": [0.05, 0.061, 0.07, 0.08], "obc-4": [0.10, 0.12, 0.11, 0.13]}
USEFUL = {"none-32": [0.9, 0.91, 0.92, 0.93], "obc-2": [0.8, 0.81, 0.82, 0.83], "obc-4": [0.9, 0.91, 0.92, 0.93]}
CANARIES = {"canaries": {name: [3 * value for value in values] for name, values in LEAKS.items()}}
ABOUT = {"dataset": "digits", "net": "small", "n_shadows": 16, "n_targets": 4}


@pytest.fixture
def finished(made_up: Callable[..., Path]) -> Path:
    """A study of four targets and two shadows at three variants, with records, checkpoints, confidences, an audit."""
    root = made_up(LEAKS, USEFUL, slices=CANARIES)
    (root / "study.json").write_text('{"name": "little", "n_shadows": 16, "n_targets": 4}')
    for variant in LEAKS:
        for model in (0, 1, *range(16, 20)):
            for folder, end in (("checkpoints", "ckpt"), ("confidence", "npz")):
                path = root / folder / variant / f"{model:03d}.{end}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{folder} of {variant} {model}")
            record(root, variant, model)
    return root


def record(root: Path, variant: str, model: int) -> None:
    """What the commands leave behind of one model."""
    data = {"data": {"split_seed": 3, "n_shadows": 16, "n_targets": 4, "dataset": {"class_path": "Digits"}}}
    stage = "train" if variant == "none-32" else "quantize"
    path = record_path(root, variant, model, stage)
    start_record(path, StageRecord(ABOUT, data))
    if stage == "train":
        for epoch in range(3):
            add_row(path, {"epoch": epoch, "train/loss": 1.0 / (1 + epoch)})
    else:
        add_row(path, {"unit/name": "fc", "unit/relative_error": 0.25})
        add_summary(path, {"unit/relative_error": 0.25})
    path = record_path(root, variant, model, "query")
    start_record(path, StageRecord(ABOUT, {"model": {"class_path": "lit_privq.Query"}}))
    add_summary(path, {"test/accuracy": 0.75, "size/bytes": 1000})
