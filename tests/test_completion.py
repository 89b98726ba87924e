"""The script that completes commands, run in bash."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from lit_privq.__main__ import run
from lit_privq.verbs import VERBS


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("completion") / "lit_privq.bash"
    with path.open("w") as file, redirect_stdout(file):
        assert run(["completion", "bash"]) == 0
    return path


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = " ".join(f"'{word}'" for word in ("lit_privq", *words))
    code = f"""
        source {script}
        COMP_WORDS=({typed}) COMP_CWORD={len(words)}
        "$(complete -p lit_privq | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_verb_is_completed(script: Path) -> None:
    assert completed(script, "") == list(VERBS)
    assert completed(script, "st") == ["study"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fit", "--data.model_in"], ["--data.model_index"]),
        (["fit", "--config", "x.yaml", "--trainer.max_e"], ["--trainer.max_epochs"]),
        (["predict", "--ckpt"], ["--ckpt_path"]),
        (["audit", "--design", ""], ["held_out", "leave_one_out"]),
        (["audit", "--fail"], ["--fail_if"]),
        (["study", "--dry"], ["--dry_run"]),
        (["export", "--format", "o"], ["onnx"]),
        (["indicator", "--fold"], ["--folders"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_options_and_their_words_are_completed(script: Path, words: list[str], found: list[str]) -> None:
    assert completed(script, *words) == found


@pytest.mark.parametrize(
    "words", [["report"], ["study", "--config"], ["fit", "--data.root"], ["indicator", "--output"]]
)
def test_files_are_completed_where_a_path_is_meant(script: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "digits.yaml").touch()
    assert completed(script, *words, f"{tmp_path}/dig") == [f"{tmp_path}/digits.yaml"]


def test_a_link_between_two_options_is_not_offered(script: Path) -> None:
    assert [word for word in completed(script, "fit", "-") if not word.startswith("-")] == []


def test_without_shtab_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run(["completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        "lit_privq: error: completion needs shtab; install it with: pip install 'lit_privq[completion]'\n"
    )
