from __future__ import annotations

import os

import pytest
import torch

os.environ["WANDB_MODE"] = "disabled"  # no account, no network, no processes
os.environ.pop("LIT_PRIVQ_DATA", None)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors: threads cost more than they give, and other processes may be running."""
    torch.set_num_threads(1)
