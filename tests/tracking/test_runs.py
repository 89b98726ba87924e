from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lit_privq.tracking.runs import MODES, check_mode, has_account, mode, open_run


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without an account, whose environment says nothing of W&B."""
    names = ("MODE", "API_KEY", "IDENTITY_TOKEN_FILE", "BASE_URL", "RUN_ID", "NAME", "PROJECT", "RUN_GROUP", "SWEEP_ID")
    for name in names:
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What W&B's own init was called with."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("wandb.init", lambda **options: calls.append(options) or SimpleNamespace(step=0))
    return calls


@pytest.mark.parametrize("given", ["", *MODES])
def test_the_modes_that_wandb_knows_are_taken(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", given)
    check_mode()


def test_another_mode_is_refused_with_the_ones_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(ValueError, match=r"one of online, offline, disabled, shared; got nonsense, set or unset it$"):
        check_mode()


@pytest.mark.usefixtures("nobody")
def test_without_an_account_records_are_kept_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_account()
    assert mode() == "records"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mode() == "offline"


@pytest.mark.usefixtures("nobody")
def test_an_account_is_a_key_in_the_environment_or_in_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine example.org login user password secret\n")
    netrc.chmod(0o600)
    assert not has_account()
    netrc.write_text("machine api.wandb.ai login user password secret\n")
    assert has_account()
    assert mode() == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_account()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert has_account()


@pytest.mark.usefixtures("nobody")
def test_a_run_has_the_same_id_at_every_start_and_is_gone_on_with(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    for _ in range(2):
        open_run(tmp_path, "obc-2-003", group="digits", mode="online")
    assert [(call["id"], call["resume"], call["project"], call["group"]) for call in asked] == 2 * [
        ("digits-obc-2-003", "allow", "lit_privq", "digits")
    ]


@pytest.mark.usefixtures("nobody")
def test_what_the_environment_says_of_a_run_is_honoured(
    asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RUN_ID": "mine", "NAME": "first try", "PROJECT": "privacy", "RUN_GROUP": "May"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    open_run(tmp_path, "study", group="digits", mode="online", alone=True)
    open_run(tmp_path, "obc-2-003", group="digits", mode="online")
    open_run(tmp_path, "obc-2-003", group="digits", mode="online", project="typed")
    assert [(call["id"], call["name"], call["project"], call["group"]) for call in asked] == [
        ("mine", "first try", "privacy", "May"),
        ("May-obc-2-003", "first try-obc-2-003", "privacy", "May"),
        ("May-obc-2-003", "first try-obc-2-003", "typed", "May"),
    ]


@pytest.mark.usefixtures("nobody")
def test_in_a_sweep_wandb_itself_says_which_run_it_is(
    asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "r")
    open_run(tmp_path, "obc-2-003", group="digits", mode="online", alone=True)
    assert [asked[0][key] for key in ("id", "project", "resume")] == [None, None, None]
