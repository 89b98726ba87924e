from __future__ import annotations

from pathlib import Path

import pytest

from lit_privq.tracking.command import main, share


def failing(*_: object) -> int:
    raise RuntimeError("the network\nis gone")


def test_disabled_nothing_is_written_and_publish_says_so(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before = sorted(finished.rglob("*"))
    assert share(finished) == ""
    with pytest.raises(ValueError, match="WANDB_MODE is disabled, so nothing is published; unset it"):
        main([str(finished)])
    assert sorted(finished.rglob("*")) == before


def test_without_an_account_a_study_ends_with_how_to_upload_it(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_privq.tracking.command.mode", lambda: "records")
    monkeypatch.setattr("lit_privq.tracking.command.publish", failing)
    assert f"python -m lit_privq publish {finished}` uploads this study, after `wandb login`" in share(finished)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_failure_of_wandb_fails_no_study_but_publish_itself(
    mode: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setattr("lit_privq.tracking.command.publish", failing)
    assert share(finished).startswith("Weights & Biases failed (the network is gone), and this command goes on without")
    with pytest.raises(ValueError, match="Biases failed: the network is gone; run the same again later"):
        main([str(finished)])


def test_offline_it_is_said_how_to_sync(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("lit_privq.tracking.command.publish", lambda *_: 19)
    main([str(finished)])
    folder = finished / "wandb"
    assert capsys.readouterr().out == (
        f"Weights & Biases: 19 runs in {folder}; `wandb sync {folder}/offline-run-*` uploads them\n"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        main([str(tmp_path / "nowhere")])


def test_nobody_logs_in_to_publish_files(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    monkeypatch.setattr("lit_privq.tracking.command.mode", lambda: "records")
    monkeypatch.setattr("lit_privq.tracking.command.publish", lambda root, how, upload: modes.append(how) or 1)
    main([str(finished)])
    assert modes == ["offline"]
