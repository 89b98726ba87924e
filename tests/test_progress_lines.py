from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.progress_lines import ProgressLines


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the command line's progress lines say, one for every batch."""
    stream = io.StringIO()
    monkeypatch.setattr("lit_privq.cli.ProgressLines", lambda _: ProgressLines(stream, seconds=0.0))
    return stream


def test_a_training_says_its_epoch_and_its_loss(lines: io.StringIO, privq: Callable[..., None], tmp_path: Path) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path)
    said = lines.getvalue().splitlines()
    assert re.fullmatch(r"\d+ s: epoch 1 of 6, batch 1 of 4", said[0])
    assert re.fullmatch(r"\d+ s: epoch 6 of 6, batch 4 of 4, loss [\d.]+", said[-1])


def test_a_quantizer_says_its_unit(lines: io.StringIO, privq: Callable[..., None], study: Path, tmp_path: Path) -> None:
    parent = ("--model.checkpoint", str(study / "checkpoints/none-32/000.ckpt"), "--model.bits", "2")
    privq("fit", "ptq/nearest.yaml", tmp_path, *parent)
    found = [re.search(r"unit (\d+) of (\d+)", line) for line in lines.getvalue().splitlines()]
    units = [(int(one[1]), int(one[2])) for one in found if one]
    assert units == sorted(units)
    assert units[-1][0] >= units[-1][1] - 1  # the last unit's own line is its predecessor's numbers


def test_a_query_says_how_many_batches_are_done(
    lines: io.StringIO, privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(study / "checkpoints/none-32/000.ckpt"))
    said = [re.fullmatch(r"\d+ s: batch (\d+) of (\d+).*", line) for line in lines.getvalue().splitlines()]
    last = said[-1]
    assert last is not None
    assert last[1] == last[2] == str(len(said))


def test_a_short_run_says_nothing(
    privq: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path)
    assert "epoch" not in capfd.readouterr().err
