import fnmatch
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lit_privq.artifacts.results import COLUMNS
from lit_privq.report import build

VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] if tag not in VOID else []
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if name in ("src", "href", "xlink:href") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(built: Path) -> str:
    return (built / "report.html").read_text(encoding="utf-8")


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


def test_the_page_is_well_formed_and_no_name_is_given_twice(page: str) -> None:
    found = outline(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))


def test_the_page_needs_no_other_file_and_no_network(page: str) -> None:
    found = outline(page)
    inside = [link for link in found.links if not link.startswith("data:")]
    assert all(link.startswith("#") and link[1:] in found.ids for link in inside)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(found.ids)
    assert not re.search(r"<script[^>]*src|fetch\(|import\(|XMLHttpRequest", page)
    assert not re.search(r"url\((?!#)|@import", page)


def test_every_exhibit_is_there(page: str) -> None:
    assert page.count('<svg role="img"') == 1 + 3 + 1 + 1 + 3 + 2
    assert page.count("<table") == 8
    for words in (
        "The least costly saving",
        ": unclear",
        "fewer than one false positive",
        "most exposed",
    ):
        assert words in page
    for words in ("python -m lit_privq study --config", "0123456789abcdef", "71.4 s", "torch 2.9.0"):
        assert words in page


def test_figures_lie_beside_the_page_as_png_and_svg(built: Path) -> None:
    names = {path.name for path in (built / "figures").iterdir()}
    stems = (
        "tradeoff",
        "leakage_lira_online_fixed",
        "leakage_lira_offline_fixed",
        "accuracy",
        "decoupled_accuracy",
        "decoupled_leakage",
        "strongest",
        "changes",
        "roc_4",
        "roc_2",
        "roc_1.58",
    )
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}


def test_the_same_data_give_the_same_files(built: Path, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "again")
    build(tmp_path / "again")
    for path in [built / "report.html", *(built / "figures").iterdir()]:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(built)).read_bytes(), path.name


def test_colours_follow_the_pages_light_or_dark(page: str) -> None:
    figures = page[page.index("<svg") :]
    assert "var(--ink)" in figures
    assert not re.search(r"#(1c2126|ffffff|0072b2)", figures)


def test_names_from_the_data_are_escaped(tmp_path: Path, conclude: Callable[[Path], None]) -> None:
    row = ["<b>x</b>", "net", "1", "none", "32", "32", "", "unaware", "<i>", "tpr_at_0.01", "0.1"]
    row += [""] * (len(COLUMNS) - len(row))
    (tmp_path / "results.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(row) + "\n")
    conclude(tmp_path)
    page = build(tmp_path).read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page


def test_results_without_conclusions_are_refused_with_what_to_run(study: Path, tmp_path: Path) -> None:
    shutil.copy(study / "results.csv", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"metrics\.json is not there.*run `audit` first"):
        build(tmp_path)


def test_results_and_conclusions_alone_make_a_page(study: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "metrics.json"):
        shutil.copy(study / name, tmp_path)
    page = build(tmp_path).read_text(encoding="utf-8")
    assert "The least costly saving" in page
    assert "ROC curves" not in page


def test_a_plain_audit_makes_a_page(study: Path, tmp_path: Path, conclude: Callable[[Path], None]) -> None:
    header, *lines = (study / "results.csv").read_text().splitlines()
    kept = [line for line in lines if ",none," in line and ",accuracy," not in line]
    (tmp_path / "results.csv").write_text("\n".join([header, *kept]))
    conclude(tmp_path)
    shutil.copy(study / "audit" / "none-32" / "unaware.npz", tmp_path / "scores.npz")
    page = build(tmp_path).read_text(encoding="utf-8")
    assert "How much does it leak?" in page
    assert "ROC curves" in page
    assert "Test accuracy" not in page


def test_a_study_too_small_for_any_bound_makes_a_page(
    study: Path, tmp_path: Path, conclude: Callable[[Path], None]
) -> None:
    header, *lines = (study / "results.csv").read_text().splitlines()
    emptied = [
        re.sub(r"(tpr_at_[\d.]+),.*", r"\1,,,", line) for line in lines if line.startswith("digits,small_resnet,16,")
    ]
    (tmp_path / "results.csv").write_text("\n".join([header, *emptied]))
    conclude(tmp_path)
    page = build(tmp_path).read_text(encoding="utf-8")
    assert "AUC of the attack" in page
    assert "One target says nothing of other targets." in page


def test_nothing_is_written_when_a_file_is_damaged(study: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "metrics.json"):
        shutil.copy(study / name, tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study\.json must be JSON"):
        build(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.csv", "metrics.json", "study.json"}


def test_odd_study_json_does_no_harm(study: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "metrics.json"):
        shutil.copy(study / name, tmp_path)
    odd: dict[str, object] = {"versions": None, "seconds": [], "n_shadows": "many", "choices": 3, "command": None}
    (tmp_path / "study.json").write_text(json.dumps(odd))
    build(tmp_path)


def test_metrics_add_their_sections(measured_study: Path, tmp_path: Path) -> None:
    shutil.copytree(measured_study, tmp_path / "study")
    page = build(tmp_path / "study").read_text(encoding="utf-8")
    found = outline(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    for words in (
        "The strongest of all attacks",
        "Is the change more than chance?",
        "Which examples become safe?",
        "With a threshold chosen on shadow models",
        "What it means for differential privacy",
        "Without the calibration examples",
        "RMIA at temperature 1",
    ):
        assert words in page
    names = {path.name for path in (tmp_path / "study" / "figures").iterdir()}
    assert {"strongest.svg", "changes.svg"} <= names


def test_damaged_metrics_are_named(study: Path, tmp_path: Path) -> None:
    shutil.copy(study / "results.csv", tmp_path)
    (tmp_path / "metrics.json").write_text('{"means": [{}]}')
    with pytest.raises(ValueError, match=r"metrics\.json must be written by this version's audit"):
        build(tmp_path)


def test_figures_of_the_page_that_is_drawn_over_go_and_no_other_file_does(
    built: Path, tmp_path: Path, conclude: Callable[[Path], None]
) -> None:
    folder = shutil.copytree(built, tmp_path / "study")
    lines = (folder / "results.csv").read_text().splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(line for line in lines if ",1.58," not in line))
    conclude(folder)
    for name in ("roc_mine.svg", "notes.png"):
        (folder / "figures" / name).write_text("not drawn by a page")
    build(folder)
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"roc_1.58.svg", "roc_1.58.png"} & names == set()
    assert {"roc_2.svg", "roc_2.png", "roc_mine.svg", "notes.png"} <= names


def test_a_figure_that_was_deleted_comes_back(built: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built, tmp_path / "study")
    (folder / "figures" / "tradeoff.svg").unlink()
    build(folder)
    assert (folder / "figures" / "tradeoff.svg").read_bytes() == (built / "figures" / "tradeoff.svg").read_bytes()


def test_every_section_is_in_the_list_of_contents(page: str) -> None:
    found = outline(page)
    assert {"tradeoff", "leakage", "numbers", "curves", "exposure", "notes", "provenance"} <= set(found.ids)
    contents = outline(page[page.index("<nav") : page.index("</nav>")]).links
    headings = [link[1:] for link in contents if link[1:] in ("glance", "figures", "numbers", "tradeoff", "notes")]
    assert headings == ["glance", "figures", "numbers", "tradeoff", "notes"]


def test_no_more_than_three_figures_and_three_parts_with_tables_stand_in_the_open(page: str) -> None:
    shown = page[: page.index('<section class="folded">')]
    shown = re.sub(r"<details.*?</details>", "", shown, flags=re.DOTALL)
    assert 1 <= shown.count('<svg role="img"') <= 3
    parts = re.findall(r'<section id="(\w+)">.*?</section>', shown, re.DOTALL)
    assert parts == ["glance", "choice", "figures", "numbers"]
    glance, others = shown.split('<section id="choice">')
    assert 2 <= glance.count("<table") <= 4
    assert others.count("<table") == 2


def test_what_a_link_of_the_contents_points_at_lies_inside_the_details_it_opens(page: str) -> None:
    folded = page[page.index('<section class="folded">') :]
    inside = set(re.findall(r'</summary>\s*<div id="(\w+)" class="body">', folded))
    assert len(inside) == folded.count('<section class="folded">')
    assert {"tradeoff", "notes", "provenance"} <= inside


def test_a_data_set_that_is_called_like_an_attack_keeps_its_own_name(
    tmp_path: Path, conclude: Callable[[Path], None]
) -> None:
    row = ["threshold", "net", "1", "none", "32", "32", "", "unaware", "threshold", "tpr_at_0.01", "0.1"]
    row += [""] * (len(COLUMNS) - len(row))
    (tmp_path / "results.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(row) + "\n")
    conclude(tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text())
    content["titles"] = {"threshold": "Global threshold"}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    page = build(tmp_path).read_text(encoding="utf-8")
    assert "<title>threshold: " in page
    assert "(Global threshold" in page


def test_a_page_of_several_recipes_names_them_everywhere(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": 0.2, "obc-2": 0.15, "none-32@dp": 0.05, "obc-2@dp": 0.04, "none-32@smooth": 0.3}
    useful = {"none-32": 0.95, "obc-2": 0.9, "none-32@dp": 0.96, "obc-2@dp": 0.95, "none-32@smooth": 0.94}
    folder = made_up(
        {name: [rate, rate + 0.004, rate - 0.003, rate + 0.001] for name, rate in leaks.items()},
        {name: [rate, rate + 0.002, rate, rate - 0.001] for name, rate in useful.items()},
    )
    record = {"titles": {"obc": "OBC"}, "recipes": {"": "", "dp": "DP-SGD", "smooth": "Label smoothing"}}
    (folder / "study.json").write_text(json.dumps(record))
    page = build(folder).read_text().replace("\xa0", " ")
    assert "What do recipes and precisions cost, and what do they save?" in page
    for label in ("DP-SGD, full precision", "DP-SGD, OBC 2 bits", "Label smoothing, full precision", ">OBC 2 bits"):
        assert label in page, label
    assert (
        "The least costly saving is DP-SGD, full precision: it brings the TPR at 1 % FPR from 20.1 % to 5.1 %" in page
    )
    drawn = (folder / "figures/tradeoff.svg").read_text()
    assert all(label in drawn for label in ("DP-SGD, OBC", ">DP-SGD<", ">Label smoothing<", ">full precision<"))
    assert ">with OBC 2<" in (folder / "figures/accuracy.svg").read_text().replace("\xa0", " ")


def test_every_figure_of_the_page_has_a_caption_with_data_models_seeds_and_attack(page: str) -> None:
    captions = re.findall(r"<figcaption>.*?</figcaption>", page, re.DOTALL)
    assert len(captions) == page.count('<svg role="img"')
    for caption in captions:
        for words in (
            "digits, small_resnet",
            "shadow models: 16",
            "training seed: 0",
            "4 target models",
            "95 %",
            "LiRA",
        ):
            assert words in caption, words


def test_every_table_is_saved_under_a_name_of_its_own(page: str) -> None:
    names = re.findall(r'download="([^"]+)"', page)
    assert {"glance_accuracy.csv", "glance_leakage.tex", "numbers.csv", "every_attack.tex"} <= set(names)
    assert len(names) == len(set(names))
    assert "table.csv" not in names


def test_the_artifacts_figures_are_drawn_under_their_names(built: Path, measured_built: Path) -> None:
    root = Path(__file__).parents[2]
    table = (root / "ARTIFACT.md").read_text(encoding="utf-8").partition("## Every figure")[2]
    names = set(re.findall(r"`figures/([^`]+)`", table)) - {"accuracy_*.png"}  # of several studies, by test_several.py
    stored = (root / "docs/results").rglob("*.png")
    drawn = {path.name for folder in (built, measured_built) for path in (folder / "figures").iterdir()}
    drawn |= {path.name for path in stored}
    assert len(names) > 10
    assert [name for name in names if not fnmatch.filter(drawn, name)] == []
