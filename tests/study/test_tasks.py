import gc
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from lit_privq.study.plan import Job, Product
from lit_privq.study.receipt import waiting_receipts
from lit_privq.study.tasks import perform

FUNCTIONS = """
import contextvars, pathlib, weakref

class Trainer: pass

last = contextvars.ContextVar("last")

class SIGTERMException(SystemExit): pass

def stop(argv): raise SIGTERMException

def write(argv):
    for name in ("report.html", "figures/a.svg", "figures/deep/b.svg"):
        path = pathlib.Path(argv[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

def run(argv):
    global trainer
    one = Trainer()
    one.itself = one
    last.set(one)  # as jsonargparse does with its parser
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
    assert perform("cyclic:run", Job("job", "train", ("fit",), ()), tmp_path, {}).outputs == {}
    assert import_module("cyclic").trainer() is None


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acting.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("functions")
def test_a_job_that_was_told_to_end_is_not_finished(tmp_path: Path) -> None:
    """Lightning ends a fit at SIGTERM with a SystemExit that has no code."""
    with pytest.raises(RuntimeError, match=r"it ended \(SIGTERMException\) without writing a.ckpt \(1 of 1 files"):
        perform("acting:stop", Job("job", "train", ("fit",), (Product("a.ckpt", "r"),)), tmp_path, {})
    assert waiting_receipts(tmp_path) == []


@pytest.mark.usefixtures("functions")
def test_whatever_lies_in_a_jobs_folders_is_its_own(tmp_path: Path) -> None:
    job = Job("job", "report", (str(tmp_path),), (Product("report.html", "r", beside="figures"),))
    receipt = perform("acting:write", job, tmp_path, {"report.html": "0"})
    assert list(receipt.outputs) == ["report.html", "figures/a.svg", "figures/deep/b.svg"]
    assert waiting_receipts(tmp_path) == [receipt], "written by the job itself"
