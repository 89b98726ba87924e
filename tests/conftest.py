from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

os.environ["WANDB_MODE"] = "disabled"  # no account, no network, no processes
os.environ.pop("LIT_PRIVQ_DATA", None)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors: threads cost more than they give, and other processes may be running."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def conf() -> Path:
    """Folder of the configs' tiny sisters."""
    return Path(__file__).parent / "conf"


@pytest.fixture(scope="session")
def privq(conf: Path) -> Callable[..., None]:
    """Run a Lightning verb here: verb, config below ``conf``, output folder, further options."""

    def run(verb: str, config: str, folder: Path, *options: str) -> None:
        from lit_privq.cli import main  # here: seconds that most tests do not need

        main([verb, "--config", str(conf / config), "--trainer.default_root_dir", str(folder), *options])

    return run


@pytest.fixture(scope="session")
def study(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six models, quantized and queried; to be read, not written to."""
    folder = tmp_path_factory.mktemp("study")
    everyone = ("--data.model_index", "0:6")
    checkpoints = str(folder / "checkpoints" / "{variant}" / "{{index:03d}}.ckpt")
    parents = ("--model.checkpoint", checkpoints.format(variant="none-32"))
    bits = ("--model.bits", '[4, 1.58, {"*": 1.58, "fc": 8}]')
    privq("fit", "shadow/digits.yaml", folder, *everyone)
    for method in ("nearest", "adaround"):
        privq("fit", f"ptq/{method}.yaml", folder, *everyone, *parents, *bits)
    for variant in ("none-32", "adaround-1.58"):
        path = checkpoints.format(variant=variant)
        privq("predict", "query/digits.yaml", folder, *everyone, "--ckpt_path", path, "--model.logits", "true")
    return folder
