from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.tracking.records import read_stage, record_path

WATCHED = ("--trainer.callbacks+", "callbacks.WandbRuns", "--trainer.callbacks+", "callbacks.QuantizedUtility")


def test_a_quantizer_measures_the_accuracy_that_a_query_measures(
    privq: Callable[..., None], study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("callbacks.wandb_runs", "lit_privq.tracking.live"):
        monkeypatch.setattr(f"{module}.mode", lambda: "records")
    both = ("--data.model_index", "0:2")
    parents = ("--model.checkpoint", str(study / "checkpoints/none-32/{index:03d}.ckpt"), "--model.bits", "[2, 4]")
    privq("fit", "ptq/nearest.yaml", tmp_path, *parents, *both, *WATCHED)
    for variant in ("nearest-2", "nearest-4"):
        made = ("--ckpt_path", str(tmp_path / "checkpoints" / variant / "{index:03d}.ckpt"))
        privq("predict", "query/digits.yaml", tmp_path, *made, *both, *WATCHED[:2])
        for model in (0, 1):
            fit, query = (
                read_stage(record_path(tmp_path, variant, model, stage)).summary["test/accuracy"]
                for stage in ("quantize", "query")
            )
            assert fit == pytest.approx(query, abs=1e-6)  # the mean of the same answers, in another order


def test_a_training_has_nothing_quantized_to_measure(privq: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="QuantizedUtility measures what a fit has quantized; got Classifier"):
        privq("fit", "shadow/digits.yaml", tmp_path, "--trainer.max_epochs", "1", *WATCHED[2:])
