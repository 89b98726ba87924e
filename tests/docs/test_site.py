"""The documentation site: built without a warning, complete, and in need of no network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from lit_privq.verbs import VERBS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for folder in ("lit_privq", "callbacks")
    for path in (ROOT / folder).rglob("__init__.pyi")
)


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    """docs/parts.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("parts", DOCS / "parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    folder = tmp_path_factory.mktemp("site")
    (options,) = re.findall(r"python -m sphinx (.*) docs build/docs$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"-W", "-n"} <= set(options.split())  # warnings are errors, and so are names that do not exist
    command = [sys.executable, "-m", "sphinx", *options.split(), str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_needs_no_network_and_shows_every_verb_and_public_name(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    fetched = (
        r"<(?:script|img|iframe|source)[^>]+src=.https?:|<link(?![^>]*canonical)[^>]+href=.https?:|@import .https?:"
    )
    assert {name: found for name, text in pages.items() if (found := re.findall(fetched, text))} == {}
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\'\"]?https?:", path.read_text(encoding="utf-8")), path
    for verb in VERBS:
        assert f'<section id="{verb}">' in pages["command_line.html"]
    for package in PACKAGES:
        for name in import_module(package).__all__:
            assert re.search(rf'descname"><span class="pre">{name}</span>', pages[f"api/{package}.html"]), name
    assert "<math" in pages["attacks.html"]
    assert "MathJax" not in pages["attacks.html"]


def test_every_package_has_a_page_and_every_public_name_a_docstring(parts: ModuleType) -> None:
    assert sorted(path.stem for path in (DOCS / "api").glob("*.md")) == PACKAGES
    for package in PACKAGES:
        module = import_module(package)
        assert f"<!-- names: {package} -->" in (DOCS / f"api/{package}.md").read_text(encoding="utf-8")
        assert [name for name in module.__all__ if not (getattr(module, name).__doc__ or "").strip()] == []
        assert all(f":: {name}\n" in parts.names(package) for name in module.__all__)


def test_links_of_files_elsewhere_lead_to_their_pages(parts: ModuleType) -> None:
    written = "[a](docs/export.md#onnx) [b](configs/data/digits.yaml) [c](CHANGELOG.md) [d](https://x.org/a.md)"
    links = re.findall(r"\((.*?)\)", parts.with_pages(written, ROOT / "README.md", DOCS / "api/x.md"))
    assert links == ["../export.md#onnx", "../../configs/data/digits.yaml", "../changelog.md", "https://x.org/a.md"]


def test_files_of_the_root_are_pages_under_the_names_that_links_use(parts: ModuleType) -> None:
    for file, page in parts.PAGES.items():
        assert (ROOT / file).is_file()
        assert (ROOT / page).is_file()
