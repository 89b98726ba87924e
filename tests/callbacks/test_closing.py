from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lit_privq.artifacts.confidences import read_dump


def test_a_fit_ends_with_the_file_and_its_accuracy(
    privq: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path)
    path = tmp_path / "checkpoints/none-32/000.ckpt"
    accuracy = torch.load(path, weights_only=True)["lit_privq"]["accuracy"]
    assert capsys.readouterr().out.splitlines()[-1] == f"{path}: test accuracy {100 * accuracy:.1f} %"


def test_a_fleet_ends_with_one_line_for_all_its_models(
    privq: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, "--data.model_index", "1:3")
    folder = tmp_path / "checkpoints/none-32"
    each = [torch.load(folder / f"00{k}.ckpt", weights_only=True)["lit_privq"]["accuracy"] for k in (1, 2)]
    mean, low, high = (f"{100 * value:.1f} %" for value in (sum(each) / 2, min(each), max(each)))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{folder / '001.ckpt'} to 002.ckpt: test accuracy {mean}, over models {low} to {high}"


def test_a_quantizer_ends_with_a_line_for_each_precision_and_its_error(
    privq: Callable[..., None], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = ("--model.checkpoint", str(study / "checkpoints/none-32/000.ckpt"))
    privq("fit", "ptq/nearest.yaml", tmp_path, *parent, "--model.bits", "2", "8")
    two, eight = capsys.readouterr().out.splitlines()
    assert two.startswith(f"{tmp_path / 'checkpoints/nearest-2/000.ckpt'}: mean relative error of its units ")
    assert eight.startswith(f"{tmp_path / 'checkpoints/nearest-8/000.ckpt'}: mean relative error of its units ")
    assert float(eight.split()[-1]) < float(two.split()[-1])


def test_a_query_ends_with_the_file_and_the_accuracy_that_it_found(
    privq: Callable[..., None], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(study / "checkpoints/adaround-1.58/002.ckpt"))
    path = tmp_path / "confidence/adaround-1.58/002.npz"
    accuracy = read_dump(path).utility["accuracy"]
    assert capsys.readouterr().out.splitlines()[-1] == f"{path}: test accuracy {100 * accuracy:.1f} %"
