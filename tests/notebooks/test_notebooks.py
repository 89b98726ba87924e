import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from lit_privq.report.headline import headline
from lit_privq.report.inputs import read_inputs

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what kernels write out of the home folder and out of each other's way."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def tiny_study(made_up: Callable[..., Path]) -> Path:
    """What an audit leaves of a study with a clear saving."""
    leaks = {
        "none-32": [0.10, 0.11, 0.12],
        "nearest-2": [0.02, 0.03, 0.041],
        "adaround-2": [0.09, 0.13, 0.11],
        "adaround-1.58-last8": [0.05, 0.061, 0.07],
    }
    return made_up(leaks, {name: [0.9 - 0.02 * place, 0.905 - 0.02 * place, 0.91] for place, name in enumerate(leaks)})


def read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    return notebook


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_on_a_tiny_study(
    path: Path, tiny_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_PRIVQ_STUDY", str(tiny_study))
    where = {"metadata": {"path": str(FOLDER)}}
    done = NotebookClient(read(path), timeout=120, kernel_name="python3", resources=where).execute()
    said = "".join(out.get("text", "") for cell in done.cells for out in cell.get("outputs", []))
    assert said.strip()
    if path.stem == "01_tradeoff":
        assert "The least costly saving is" in said
        assert headline(read_inputs(tiny_study)[0]).sentence in said
    if path.stem == "06_who_is_exposed":
        assert re.search(r"^descent-1.58, adaptive +8.8% +100.0%$", said, re.MULTILINE)  # as docs/results/digits has it
        assert "31% fewer members" in said
    if path.stem == "05_runs":
        assert "12 runs of 4 variants; 3 models were attacked" in said
        assert "lira_online_fixed" in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
