"""The Dockerfile is built nowhere here; what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lit_privq.verbs import VERBS

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]


def test_every_line_is_an_instruction() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    assert {line.partition(" ")[0] for line in LINES} == known
    assert LINES[0].startswith("FROM ")


def test_it_installs_what_the_tests_need_by_the_makefile() -> None:
    made = re.search(r"^INSTALLED := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made is not None
    assert any(line.startswith("RUN ") and line.endswith(f"make {made[1]}") for line in LINES)


def test_it_runs_a_verb_with_a_config_that_is_shipped() -> None:
    command = json.loads(LINES[-1].removeprefix("CMD "))
    assert command[:2] == ["lit_privq", "study"]
    assert command[1] in VERBS
    assert (ROOT / command[command.index("--config") + 1]).is_file()
