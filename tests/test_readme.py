"""The examples in README.md and CONTRIBUTING.md, run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_privq.__main__ import run
from lit_privq.artifacts.results import COLUMNS, read_results
from lit_privq.models import small_resnet

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The arguments of every command of ours in a page, in code blocks and tables."""
    lines = [line for line in text.splitlines() if line.startswith("python -m lit_privq")]
    found = [*lines, *re.findall(r"`(python -m lit_privq [^`]*)`", text)]
    return [shlex.split(command, comments=True)[3:] for command in found]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's hints, of which the command line leaves out those that do not apply
def test_the_readmes_python_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((64, 400)), axis=0) < 32, random.random((10, 400)) < 0.5])
    names: dict[str, Any] = {
        "net": small_resnet(10, width=4).eval(),
        "images": torch.randn(64, 1, 8, 8),
        "confidence": random.normal(size=members.shape) + members,
        "members": members,
    }
    for code in blocks(README, "python"):
        exec(code, names)
    assert names["logits"].shape == (64, 10)
    assert names["codes"].unique().tolist() == [0, 1, 2, 3]
    assert 0 <= names["rate"] <= 1
    assert names["scores"]["lira_online_fixed"].shape == (10, 400)
    assert names["found"]["tpr_at_0.01"] >= 0
    assert names["net"](torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert run(["audit", "--input", "mine.npz", "--output", "out", "--targets", "64:74", "--resamples", "0"]) == 0


@pytest.mark.slow
def test_parts_of_ones_own_run_from_training_to_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in blocks(CONTRIBUTING, "python"):
        name = code.split()[1]
        (tmp_path / name).write_text(code)
        assert 10 <= len(code.splitlines()) <= 30 or name == "my_network.py"
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    short = ["--trainer.max_epochs", "4", "--model.scheduler.init_args.T_max", "4"]  # in place of a hundred epochs
    for command in commands(CONTRIBUTING):
        assert run(command + (short if "shadow" in command[2] else [])) == 0
    assert (tmp_path / "runs/mine/checkpoints/stochastic-2/019.ckpt").is_file()
    assert {key.attack for key in read_results(tmp_path / "runs/mine/results.csv").series} >= {"midpoint"}


def test_the_readme_names_only_files_that_exist() -> None:
    for text in (README, CONTRIBUTING):
        links = re.findall(r"\]\(([^)h][^)]*)\)", text)
        configs = [word for command in commands(text) for word in command if word.startswith("configs/")]
        named = re.findall(r"`((?:configs|docs|callbacks|tests/[a-z]{2,})/[\w./]+)`", text)
        missing = [path for path in (*links, *configs, *named) if not (ROOT / path).exists()]
        assert missing == []


def test_the_readme_has_every_column_of_results_csv() -> None:
    assert f"`{', '.join(COLUMNS)}`" in README


def test_the_readme_names_every_metric_of_the_audit(study: Path, tmp_path: Path) -> None:
    options = ["--attacks", "threshold", "--resamples", "0"]
    assert run(["audit", "--input", str(study / "confidence"), "--output", str(tmp_path), *options]) == 0
    metrics = {key.metric.partition("_at_")[0] for key in read_results(tmp_path / "results.csv").series}
    (cell,) = re.findall(r"^\| `metric` \|(.*)\|$", README, flags=re.MULTILINE)
    assert metrics <= {word.partition("_at_")[0] for word in re.findall(r"`([^`]+)`", cell)}
