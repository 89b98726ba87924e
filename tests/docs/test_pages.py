"""The examples and commands of the documentation's pages, run or read as they stand."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lit_privq.__main__ import run
from lit_privq.verbs import LIGHTNING, VERBS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if not path.read_text(encoding="utf-8").startswith("<!--")
)


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def run_python(name: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run the Python of a page from top to bottom."""
    for code in re.findall(r"^```python\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE):
        exec(code, names)
    return names


def commands(name: str) -> list[list[str]]:
    """The arguments of a page's commands, in code blocks and in lines."""
    found = re.findall(r"^(?:    )?(python -m lit_privq .*)$|`(python -m lit_privq [^`]*)`", text(name), re.MULTILINE)
    return [shlex.split("".join(one).rstrip("\\"), comments=True)[3:] for one in found]


def test_pages_with_python_are_known_to_a_test() -> None:
    with_python = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES if "```python" in path.read_text()}
    elsewhere = {"export.md", "results/digits/digits.md"}
    assert with_python == {"own_arrays.md", "own_network.md"} | elsewhere


def test_the_arrays_of_the_page_are_audited_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    labels = random.integers(3, size=400)

    def train_and_query(inputs: None, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return random.normal(size=(400, 3)) + 3 * np.eye(3)[labels] * rows[:, None]

    found = run_python("own_arrays.md", {"train_and_query": train_and_query, "inputs": None, "labels": labels})
    assert found["mean"].low > 0.05
    np.savez("mine_slices.npz", some=np.arange(100))
    quick = ["--resamples", "0", "--report", "false"]
    one, every, gated = (command for command in commands("own_arrays.md") if command[0] == "audit")
    assert run([*one, *quick]) == 0
    assert run([*every, *quick, "--slices", "mine_slices.npz"]) == 0
    with pytest.raises(SystemExit) as ended:
        run([*gated, *quick])
    assert ended.value.code == 1


def test_the_network_of_the_page_is_quantized_exported_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)).eval()
    found = run_python("own_network.md", {"net": net, "images": torch.randn(64, 1, 8, 8)})
    assert capsys.readouterr().out.count("relative error") == 2
    with torch.no_grad():
        assert torch.equal(found["again"](found["images"]), found["logits"])


@pytest.mark.parametrize("page", [path.relative_to(ROOT / "docs").as_posix() for path in PAGES])
def test_commands_of_a_page_name_verbs_configs_and_options_that_exist(page: str) -> None:
    for verb, *words in (command for command in commands(page) if command[0] != "VERB"):
        assert [word for word in words if word.startswith("configs/") and not (ROOT / word).exists()] == []
        if VERBS[verb].module != LIGHTNING:
            parser = import_module(VERBS[verb].module).parser()
            known = {name for action in parser._actions for name in action.option_strings} | {"--slurm"}  # on to sbatch
            options = [word for word in words if word.startswith("--")]
            assert [name for name in options if not {name, name.rpartition(".")[0]} & known] == []


def test_the_page_explained_names_parts_by_their_headings() -> None:
    sources = [*(ROOT / "lit_privq/report").rglob("*.py"), *(ROOT / "lit_privq/report").rglob("*.j2")]
    known = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = re.findall(r"^\*\*(.+?)\.?\*\*", text("page.md"), re.MULTILINE)
    assert len(named) > 12
    assert [name for name in named if name.replace("Accuracy against", "against") not in known] == []
