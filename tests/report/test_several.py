from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

from lit_privq.plot.style import COLUMN
from lit_privq.report import several
from lit_privq.report.command import main
from lit_privq.report.figures import worst_case
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View

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
    heads = re.findall(r'<th scope="col">([^<]*)', page[page.index("The numbers") :])
    assert len(heads) == 1 + 2 * 2
    names = re.findall(r'download="([^"]+)"', page)
    assert len(names) == len(set(names)) == 4
    assert len(re.findall("<figcaption>", page)) == page.count('<svg role="img"')


FULL, CLEAR = [0.10, 0.11, 0.12, 0.13], [0.06, 0.071, 0.08, 0.09]
UNCLEAR, EXPOSED, SAFER = [0.04, 0.14, 0.06, 0.16], [0.99, 0.98, 0.97, 0.98], [0.59, 0.57, 0.58, 0.572]


@pytest.fixture
def two(made_up: Callable[..., Path]) -> dict[str, View]:
    """A study with a clear saving that protects canaries, and one without either; methods in another order."""
    one = {"none-32": FULL, "obc-4": FULL, "obc-2": CLEAR}
    canaries = {"none-32": EXPOSED, "obc-4": EXPOSED, "obc-2": SAFER}
    useful = {"none-32": [0.9] * 4, "obc-4": [0.89, 0.9, 0.9, 0.9], "obc-2": [0.85, 0.86, 0.85, 0.85]}
    areas = {"none-32": [0.99] * 4, "obc-4": [0.99] * 4, "obc-2": [0.81, 0.82, 0.81, 0.84]}
    first = read_inputs(made_up(one, useful, slices={"canaries": canaries}, areas={"canaries": areas}))[0]
    other = {"none-32": FULL, "brecq-2": UNCLEAR, "obc-2": FULL}
    canaries = {"none-32": EXPOSED, "brecq-2": EXPOSED, "obc-2": EXPOSED}
    useful = {"none-32": [0.8] * 4, "brecq-2": [0.7, 0.71, 0.7, 0.7], "obc-2": [0.1] * 4}
    second = read_inputs(made_up(other, useful, slices={"canaries": canaries}))[0]
    return several.on_one_page({"first": first, "second": second})


def test_the_lead_counts_the_studies_in_which_the_audit_shows_a_saving(two: dict[str, View]) -> None:
    assert several.lead(two) == (
        "Lower precision leaks clearly less in 1 of 2 studies (first), in the worst case in 1 of 2 studies (first)."
    )
    assert several.ends(two).replace("\xa0", " ") == (
        "At full precision 11.5 % of all members are found and the AUC among the canaries is 0.980 to 0.990; at the "
        "lowest precision of use 7.5 to 10.0 % of all members are found and the AUC among the canaries is 0.820 to "
        "0.980."
    )


def test_the_small_table_has_a_row_for_each_study_and_method_and_says_who_only_guesses(two: dict[str, View]) -> None:
    table = several.glance(two)
    assert [head.replace("\xa0", " ") for head in table.heads] == [
        "Study", "Method", "Full precision", "4 bits", "2 bits",
    ]  # fmt: skip
    assert [(row.name, row.cells[0].text) for row in table.rows] == [("first", "obc"), ("second", "brecq")]
    low = table.rows[0].cells[-1]
    assert (low.text.replace("\xa0", " "), low.strong) == ("7.5 %", True)
    assert low.note.replace("\xa0", " ") == "acc. 85.2 %, worst AUC 0.820"
    assert not table.rows[1].cells[-1].strong
    assert table.rows[1].cells[2].text == "–"


def test_a_method_looks_alike_in_the_figures_of_all_studies(two: dict[str, View]) -> None:
    first, second = two.values()
    assert first.looks == second.looks
    assert first.looks["obc"] != first.looks["brecq"]


def test_figures_of_all_studies_have_the_same_rows_and_say_why_one_is_empty(two: dict[str, View]) -> None:
    rows = several.shared_rows(two)
    drawn = [worst_case(view, rows) for view in two.values()]
    names = [[label.get_text() for label in figure.axes[0].get_yticklabels()] for figure in drawn]
    assert names[0] == names[1] == ["Full precision", "obc\xa04", "obc\xa02", "brecq\xa02"]
    told = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn]
    assert told == [
        ["not measured", "random guessing"],
        ["not measured", "only guesses", "random guessing"],
    ]
    heights = {round(figure.axes[0].get_position().height * figure.get_figheight(), 6) for figure in drawn}
    assert len(heights) == 1


def test_a_long_name_of_a_study_stands_above_the_title_and_is_not_cut(two: dict[str, View]) -> None:
    with matplotlib.rc_context(COLUMN):
        figure = worst_case(two["first"], over="tinyimagenet_of_twenty_classes_small")
        figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.x1 <= figure.get_figwidth()
    assert "tinyimagenet_of_twenty_classes_small" in [text.get_text() for text in figure.texts]


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
