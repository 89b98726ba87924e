from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.report.command import main

Named = Callable[[str], Path]


@pytest.fixture
def named(study: Path, tmp_path: Path) -> Named:
    """A copy of the believable study under another name."""

    def make(name: str, folder: str = "") -> Path:
        copy = tmp_path / (folder or name)
        shutil.copytree(study, copy)
        record = json.loads((copy / "study.json").read_text())
        (copy / "study.json").write_text(json.dumps({**record, "name": name}))
        return copy

    return make


def test_one_page_shows_every_study_and_writes_into_none(named: Named, tmp_path: Path) -> None:
    one, other = named("digits"), named("letters")
    before = {path for folder in (one, other) for path in folder.rglob("*")}
    main([str(one), str(other), "--output", str(tmp_path / "all")])
    page = (tmp_path / "all/report.html").read_text()
    for text in (">digits<", ">letters<", "LiRA online, fixed variance", "AdaRound"):
        assert text in page
    figures = {path.name for path in (tmp_path / "all/figures").glob("*.svg")}
    assert {"accuracy_digits.svg", "accuracy_letters.svg", "leakage_lira_online_fixed_letters.svg"} <= figures
    assert {path for folder in (one, other) for path in folder.rglob("*")} == before
    heads = re.findall(r'<th scope="col">([^<]*)', page)
    assert len(heads) == 1 + 2 * 2


def test_studies_that_share_a_name_are_refused(named: Named, tmp_path: Path) -> None:
    folders = [str(named("digits")), str(named("digits", "again"))]  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"names of their own; .* are both digits"):
        main([*folders, "--output", str(tmp_path / "all")])


@pytest.mark.parametrize("lacking", ["results.csv", "metrics.json", "study.json"])
def test_a_folder_that_is_no_finished_study_is_refused(named: Named, tmp_path: Path, lacking: str) -> None:
    one, other = named("digits"), named("letters")
    (other / lacking).unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=r"letters.*(is not there|is no finished study)"):
        main([str(one), str(other), "--output", str(tmp_path / "all")])
    assert not (tmp_path / "all").exists()


def test_files_of_another_version_are_refused(named: Named, tmp_path: Path) -> None:
    one, other = named("digits"), named("letters")
    tree = json.loads((other / "metrics.json").read_text())
    del tree["focus"]
    (other / "metrics.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="must be written by this version's audit"):
        main([str(one), str(other), "--output", str(tmp_path / "all")])


def test_an_output_inside_a_study_is_refused(named: Named) -> None:
    one, other = named("digits"), named("letters")
    for output in (one, other / "all"):
        with pytest.raises(ValueError, match="needs a folder of its own"):
            main([str(one), str(other), "--output", str(output)])


def test_several_studies_need_an_output_and_one_takes_none(named: Named) -> None:
    one, other = str(named("digits")), str(named("letters"))
    with pytest.raises(ValueError, match="--output"):
        main([one, other])
    with pytest.raises(ValueError, match="two folders at least"):
        main([one, "--output", f"{one}_all"])
