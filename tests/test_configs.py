"""Every shipped config is understood by whoever reads it; their tiny sisters are run by the other tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lit_privq import study
from lit_privq.audit.command import _parse as parse_audit
from lit_privq.cli import PrivqCLI, run_cli
from lit_privq.indicator.study import main as indicator
from lit_privq.study.description import read_study

ROOT = Path(__file__).parents[1] / "configs"
SISTERS = Path(__file__).parent / "conf"


def shipped(*patterns: str) -> list[str]:
    found = [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found
    return found


def parse(*configs: str, options: tuple[str, ...] = ()) -> PrivqCLI:
    files = [word for config in configs for word in ("--config", str(ROOT / config))]
    return run_cli([*files, *options], run=False)
