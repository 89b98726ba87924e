"""How the command ends: its status, and what it says, whatever happens to it from outside."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callbacks import WriteCheckpoints
from lit_privq import __version__
from lit_privq.__main__ import run


def fit(conf: Path, out: Path) -> list[str]:
    return ["fit", "--config", str(conf / "shadow/digits.yaml"), "--trainer.default_root_dir", str(out)]


def at_the_first_epochs_end(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], object]) -> None:
    monkeypatch.setattr(WriteCheckpoints, "on_train_epoch_end", lambda *_: happen())


def test_a_training_that_is_told_to_end_says_so_by_its_status_and_writes_nothing(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_first_epochs_end(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        run(fit(conf, tmp_path))
    assert end.value.code == 143
    assert not list(tmp_path.rglob("*.ckpt"))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_training_that_is_interrupted_ends_with_the_status_of_ctrl_c(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_first_epochs_end(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    assert run(fit(conf, tmp_path)) == 130
    assert not list(tmp_path.rglob("*.ckpt"))
    assert signal.getsignal(signal.SIGINT) == before


def test_a_full_disk_is_one_sentence_with_the_file(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    assert run(fit(conf, tmp_path)) == 2
    path = tmp_path / "checkpoints/none-32/000.ckpt"
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"lit_privq: error: {path}: no space is left on the device; make room, and run the same command again"
    )


def test_a_full_disk_behind_another_error_is_told_too(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error

    at_the_first_epochs_end(monkeypatch, full)
    assert run(fit(conf, tmp_path)) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("make room, and run the same command again")


def test_a_fault_of_ours_keeps_its_traceback(conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_the_first_epochs_end(monkeypatch, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(fit(conf, tmp_path))


@pytest.mark.parametrize("command", [["fit", "--print_config"], ["fit", "--help"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(command: list[str]) -> None:
    words, pipe = [sys.executable, "-m", "lit_privq", *command], subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written, as `| true` does
        error = process.stderr.read().decode()
    assert process.returncode == 0, error
    assert "pipe" not in error.lower()


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"lit_privq {__version__}\n"


def test_the_command_is_installed_under_its_name() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'lit_privq = "lit_privq.__main__:script"' in project


def test_the_command_finds_modules_in_the_current_folder(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "my_nets.py").write_text("")
    command = [*fit(conf, tmp_path / "out"), "--model.net.class_path", "my_nets.nothing"]
    code = f"import sys; sys.argv = {['lit_privq', *command]}; from lit_privq.__main__ import script; script()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-P", "-c", code]  # -P: as an installed script, without the folder
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "module 'my_nets' has no attribute 'nothing'" in done.stderr


def test_help_within_help_names_the_program(conf: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lit_privq", *fit(conf, tmp_path), "--model.help", "Classifier"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: lit_privq ")
    assert "__main__" not in shown
