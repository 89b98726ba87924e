"""Weights & Biases runs: whether there are any, what they are called, and how one is opened."""

from __future__ import annotations

import netrc
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import wandb

PROJECT = "lit_privq"
Mode = Literal["online", "offline", "shared", "disabled", "records"]
MODES = ("online", "offline", "disabled", "shared")
"""What WANDB_MODE may say."""

_WAIT = 30.0  # seconds for a server to answer, and for the last uploads: nobody's training waits longer for W&B
_HOST = "https://api.wandb.ai"


def check_mode() -> None:
    """Refuse a WANDB_MODE that W&B does not know, before anything is trained.

    Raises:
        ValueError: naming the modes.
    """
    mode = os.environ.get("WANDB_MODE")
    if mode and mode not in MODES:
        raise ValueError(f"WANDB_MODE must be one of {', '.join(MODES)}; got {mode}, set or unset it")


def mode() -> Mode:
    """What WANDB_MODE says; else ``online`` with an account, and without one ``records``, for a later `publish`."""
    check_mode()
    return cast(Mode, os.environ.get("WANDB_MODE") or ("online" if has_account() else "records"))


def has_account() -> bool:
    """Whether W&B will find a key: in the environment, or where ``wandb login`` puts it.

    W&B itself is not asked: to import it costs half a CPU second, which is more than a small job may spend on it.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _HOST).netloc
    places = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]  # as W&B looks for it
    try:
        files = [path for place in places if (path := Path(place).expanduser()).is_file()]
        return any(netrc.netrc(path).authenticators(host) for path in files)
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False


def run_name(variant: str, model: int) -> str:
    """Name of the run of one model at one variant.

    >>> run_name("brecq-1.58", 7)
    'brecq-1.58-007'
    """
    return f"{variant}-{model:03d}"


def run_id(group: str, name: str) -> str:
    """Id of a run, the same at every start of a study, without the characters that W&B refuses.

    >>> run_id("digits: a trial", "none-32@dp_sgd-003")
    'digits_a_trial-none-32@dp_sgd-003'
    """
    return re.sub(r"[\s/\\#?%:]+", "_", f"{group}-{name}")


def open_run(
    folder: Path,
    name: str,
    *,
    group: str,
    mode: Mode,
    job_type: str = "",
    config: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    project: str | None = None,
    alone: bool = False,
) -> wandb.Run:
    """Open one run, beside others of this process. A run with the same group and name is gone on with.

    WANDB_PROJECT and WANDB_RUN_GROUP are honoured, and WANDB_NAME and WANDB_RUN_ID: by a run that is alone as they are,
    by others as the first part of their name. In a sweep, W&B itself says which run and project it is.

    Args:
        folder: of the study; W&B's files go to ``folder/wandb``.
        name: of the run.
        group: of the runs, the study's name.
        mode: of W&B.
        job_type: target, shadow or study.
        config: resolved configuration.
        tags: such as the network and the method.
        project: of W&B; None takes WANDB_PROJECT, then ``lit_privq``.
        alone: whether it is the command's only run, or the study's own.
    """
    import wandb

    given = os.environ.get
    group = given("WANDB_RUN_GROUP") or group
    own_id = (given("WANDB_RUN_ID") if alone else None) or run_id(group, name)
    own_name = given("WANDB_NAME")
    in_sweep = bool(given("WANDB_SWEEP_ID"))
    folder.mkdir(parents=True, exist_ok=True)
    if mode == "offline":
        _remove_offline(folder / "wandb", own_id)
    return wandb.init(
        project=None if in_sweep else project or given("WANDB_PROJECT") or PROJECT,
        id=None if in_sweep else own_id,
        resume="allow" if mode == "online" and not in_sweep else None,
        group=group,
        job_type=job_type,
        name=name if not own_name else own_name if alone else f"{own_name}-{name}",
        tags=[tag[:64] for tag in tags if tag],  # as long as W&B lets them be
        dir=folder,
        config=dict(config or {}),
        mode=cast(Literal["online", "offline", "disabled", "shared"], mode),
        reinit="create_new",
        settings=_settings(),
    )


def _settings() -> wandb.Settings:
    """Of a run that holds what it is given, and says nothing."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        init_timeout=_WAIT,
        finish_timeout=_WAIT,
        x_disable_meta=True,  # command lines and hosts are in study.json
        x_disable_stats=True,
        x_save_requirements=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
    )


def log_history(run: wandb.Run, history: Sequence[Mapping[str, Any]], start: int = 0) -> None:
    """Log rows as steps, less those that the run has from an earlier start.

    Args:
        run: open.
        history: the rows.
        start: step of the first.
    """
    for step, row in enumerate(history, start):
        if step >= run.step:
            run.log(dict(row), step=step)


def _remove_offline(folder: Path, own_id: str) -> None:
    """Remove the files of earlier starts of a run: its whole story is written anew."""
    for path in folder.glob("offline-run-*"):
        if path.name.split("-", maxsplit=3)[-1] == own_id:
            shutil.rmtree(path, ignore_errors=True)
