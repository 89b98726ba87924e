"""The Dockerfile is built nowhere here; what it names exists."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from lit_privq.verbs import VERBS

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]


def test_every_line_is_an_instruction() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    assert {line.partition(" ")[0] for line in LINES} == known
    assert LINES[0].startswith("FROM ")


def test_it_installs_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"'\.\[([\w,]+)\]'", "\n".join(LINES))
    assert set(installed.split(",")) <= set(extras)


def test_it_runs_a_verb_with_a_config_that_is_shipped() -> None:
    command = json.loads(LINES[-1].removeprefix("CMD "))
    assert command[:2] == ["lit_privq", "study"]
    assert command[1] in VERBS
    assert (ROOT / command[command.index("--config") + 1]).is_file()
