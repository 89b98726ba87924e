from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from lit_privq.verbs import VERBS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_main_and_a_parser_in_a_module_of_commands(verb: str) -> None:
    module = VERBS[verb].module
    assert module.rpartition(".")[2] in ("cli", "command", "completion", "reproduce", "job")
    assert callable(import_module(module).main)
    assert callable(import_module(module).parser)


def test_a_hint_names_only_configs_that_are_shipped() -> None:
    sources = [path.read_text() for top in ("lit_privq", "callbacks") for path in ROOT.glob(f"{top}/**/*.py")]
    named = {name for text in sources for name in re.findall(r"configs/[\w/]+(?:\.yaml)?", text)}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
