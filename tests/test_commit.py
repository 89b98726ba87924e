from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import lit_privq.commit
from lit_privq.commit import commit


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in a repository of its own, in place of ours."""
    folder = tmp_path / "repository/package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("x = 1\n")
    git = ["git", "-C", str(folder.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "package"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    monkeypatch.setattr(lit_privq.commit, "__file__", str(folder / "commit.py"))
    return folder


def test_the_commit_is_that_of_the_source_and_says_what_was_changed_since(package: Path) -> None:
    clean = commit()
    assert clean is not None
    assert len(clean) == 40
    (package / "__init__.py").write_text("x = 2\n")
    assert commit() == f"{clean}-dirty"


def test_a_repository_that_only_lies_around_the_source_is_not_its_own(package: Path) -> None:
    subprocess.run(["git", "-C", str(package), "rm", "--quiet", "--cached", "__init__.py"], check=True)
    assert commit() is None


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(package))
    assert commit() is None
