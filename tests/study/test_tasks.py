import gc
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from lit_privq.study.tasks import perform

FUNCTIONS = """
import weakref

class Trainer: pass

def run(argv):
    global trainer
    one = Trainer()
    one.itself = one
    trainer = weakref.ref(one)
"""


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_nothing_of_a_job_stays_in_its_workers_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cyclic.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert perform("cyclic:run", ["fit"], tmp_path, []) == {}
    assert import_module("cyclic").trainer() is None
