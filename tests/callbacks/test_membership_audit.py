from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq import audit


def test_the_callback_does_what_the_command_does(
    privq: Callable[..., None], study: Path, conf: Path, tmp_path: Path
) -> None:
    config = str(conf / "audit/digits.yaml")
    shutil.copytree(study / "confidence/none-32", tmp_path / "confidence/none-32")
    (tmp_path / "confidence/none-32/005.npz").unlink()  # the last one, which the predict below writes
    privq(
        "predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(study / "checkpoints/none-32/005.ckpt"),
        "--trainer.callbacks+", "callbacks.MembershipAudit", "--trainer.callbacks.config", config,
    )  # fmt: skip
    by_callback = (tmp_path / "results.csv").read_text()
    audit.main(["--config", config, "--input", str(tmp_path / "confidence"), "--output", str(tmp_path / "again")])
    assert by_callback == (tmp_path / "again/results.csv").read_text()
    rows = list(csv.DictReader(by_callback.splitlines()))
    assert {row["target"] for row in rows} == {"4", "5"}
    assert {row["attack"] for row in rows} == {"", "lira_online_fixed", "threshold"}
    assert (tmp_path / "report.html").is_file()


def test_an_audit_does_not_begin_while_a_shadow_is_missing(
    privq: Callable[..., None], study: Path, conf: Path, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match="5 of 6 models have no confidences"):
        privq(
            "predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(study / "checkpoints/none-32/005.ckpt"),
            "--trainer.callbacks+", "callbacks.MembershipAudit",
            "--trainer.callbacks.config", str(conf / "audit/digits.yaml"),
        )  # fmt: skip
    assert not (tmp_path / "results.csv").exists()
