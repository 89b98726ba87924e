import subprocess
import sys
from pathlib import Path

import pytest

from lit_privq.study.sources import digests, source_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Methods of a user's own: one imports a neighbour, which imports another."""
    folder = tmp_path / "own_methods"
    folder.mkdir()
    (folder / "__init__.py").write_text("from own_methods.rounding import Rounding\n")
    (folder / "rounding.py").write_text("import torch\nfrom own_methods.steps import step\nclass Rounding: pass\n")
    (folder / "steps.py").write_text("from . import numbers\ndef step(): pass\n")
    (folder / "numbers.py").write_text("ONE = 1\n")
    (folder / "other.py").write_text("class Other: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_class_path_leads_to_the_file_that_defines_it_also_by_its_short_form(package: Path) -> None:
    assert source_of("own_methods.rounding.Rounding") == package / "rounding.py"
    assert source_of("own_methods.Rounding") == package / "rounding.py"


@pytest.mark.parametrize("name", ["rounding", "steps", "numbers"])
def test_a_digest_changes_with_the_source_and_with_what_it_imports_from_its_folder(package: Path, name: str) -> None:
    before, other = digests(["own_methods.rounding.Rounding"]), digests(["own_methods.other.Other"])
    (package / f"{name}.py").write_text((package / f"{name}.py").read_text() + "# edited\n")
    assert digests(["own_methods.rounding.Rounding"]) != before
    assert digests(["own_methods.other.Other"]) == other


def test_the_short_forms_of_quantizers_lead_to_their_own_files() -> None:
    found = [name for name, _ in digests(["lit_privq.quantization.descent.Descent"])]
    assert {"quantization/descent.py", "quantization/grid.py"} <= set(found)
    assert "quantization/adaround.py" not in found


def test_installed_packages_and_words_that_are_no_class_paths_are_passed_over() -> None:
    assert digests(["torch.optim.SGD", "runs/cifar10", "nowhere.to.be.Found", "1.58", "auto"]) == []


def test_sources_are_found_without_importing_anything() -> None:
    program = (
        "import sys; from lit_privq.study.sources import source_of; source_of('lit_privq.quantization.OBC'); "
        "print('torch' in sys.modules, 'lit_privq.quantization' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
