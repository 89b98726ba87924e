"""The page in headless Chromium, where one is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from lit_privq.report.command import build, build_several

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason=f"needs a headless browser, one of {', '.join(NAMES)}"),
]


def browse(page: str, tmp_path: Path, width: int, look: str) -> tuple[str, str]:
    """What an expression over the page's window ``w`` gives at a width in pixels, and the browser's console."""
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(page)}"></iframe><pre></pre>'
    tell = (
        "<script>onload = () => { const w = frames[0], d = w.document; "
        f"document.querySelector('pre').textContent = {look}; }}</script>"
    )
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{frame}{tell}", encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--window-size=1600,1000",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return unescape(found[1]), console


@pytest.fixture
def page(measured_built: Path) -> str:
    return (measured_built / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def several(measured_study: Path, tmp_path: Path) -> str:
    """A page over two studies with long names."""
    folders = []
    for name in ("tinyimagenet_of_twenty_classes", "fashion_mnist_small"):
        folders.append(Path(shutil.copytree(measured_study, tmp_path / name)))
        record = json.loads((folders[-1] / "study.json").read_text())
        (folders[-1] / "study.json").write_text(json.dumps({**record, "name": name}))
    return build_several(folders, tmp_path / "all").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_of_a_page_over_several_studies_lies_beside_the_screen_or_on_another_cell(
    several: str, tmp_path: Path, width: int
) -> None:
    look = (
        "(() => { d.querySelectorAll('details').forEach((each) => (each.open = true)); "
        "const wide = [...d.querySelectorAll('tbody th')].filter((each) => each.scrollWidth > each.clientWidth + 1); "
        "return [w.innerWidth, d.documentElement.scrollWidth, wide.length].join(' '); })()"
    )
    found, console = browse(several, tmp_path, width, look)
    inner, needed, wide = map(int, found.split())
    assert needed <= inner == width
    assert wide == 0
    assert console == ""


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_of_the_page_lies_beside_the_screen_and_the_console_is_silent(
    page: str, tmp_path: Path, width: int
) -> None:
    look = (
        "(() => { d.querySelectorAll('details').forEach((each) => (each.open = true)); "
        "return [w.innerWidth, d.documentElement.scrollWidth].join(' '); })()"
    )
    found, console = browse(page, tmp_path, width, look)
    inner, needed = map(int, found.split())
    assert inner == width
    assert needed <= inner
    assert console == ""


def stored(name: str, tmp_path: Path) -> str:
    """The page of a study in docs/results."""
    return build(shutil.copytree(Path("docs/results", name), tmp_path / name)).read_text(encoding="utf-8")


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """A page whose audit ran so many attacks that their table has seventeen columns."""
    return stored("cifar100_small", tmp_path)


@pytest.fixture
def paired(tmp_path: Path) -> str:
    """A page with the worst case beside an attacker who holds the parent."""
    page = stored("rivals_small", tmp_path)
    assert page.index("AUC among canaries") < page.index("if the attacker holds the parent")
    return page


@pytest.mark.parametrize("name", ["page", "several", "wide"])
@pytest.mark.parametrize(("width", "where"), [(688, "auto"), (949, "wide")])
def test_a_printed_page_cuts_no_table_loses_no_figure_and_opens_every_section(
    name: str, width: int, where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """On paper of A4, or of US Letter on its side, less the margins, as a screen that follows the rules for print."""
    printed = request.getfixturevalue(name).replace("@media print", "@media all", 1)
    look = (
        "(() => { const box = (each) => each.getBoundingClientRect(); "
        "const all = (what) => [...d.querySelectorAll(what)]; "
        f"const here = (each) => w.getComputedStyle(each.closest('.card') ?? d.body).page === '{where}'; "
        "const cut = all('table, pre, figure').filter((each) => here(each) && box(each).right > w.innerWidth + 1); "
        "const scrolls = all('.scroll, pre').filter((each) => w.getComputedStyle(each).overflowX !== 'visible'); "
        "const lost = all('table, figure svg').filter((each) => box(each).height < 40); "
        "return [all('table').filter(here).length, cut.length, scrolls.length, lost.length, "
        "all('figure svg').length, d.documentElement.scrollWidth].join(' '); })()"
    )
    tables, cut, scrolls, lost, figures, needed = map(int, browse(printed, tmp_path, width, look)[0].split())
    assert figures > 5
    assert bool(tables) == (where == "auto" or name == "wide")
    assert needed <= width or where == "auto"  # tables on their side are wider than an upright sheet
    assert cut == scrolls == lost == 0


@pytest.mark.parametrize("name", ["page", "paired"])
def test_accuracy_and_leakage_stand_on_a_phones_screen_without_scrolling(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    look = "[...d.querySelectorAll('#glance td')].map((each) => each.getBoundingClientRect().right).join(' ')"
    found, _ = browse(request.getfixturevalue(name), tmp_path, 390, look)
    assert max(map(float, found.split())) <= 390


def test_a_link_of_the_contents_opens_the_part_it_points_at(page: str, tmp_path: Path) -> None:
    look = (
        "(() => { const part = d.querySelector('#notes').closest('details'), before = part.open; "
        "d.querySelector('nav a[href=\"#notes\"]').click(); return before + ' ' + part.open; })()"
    )
    found, _ = browse(page, tmp_path, 1400, look)
    assert found == "false true"


def test_the_numbers_are_sorted_by_value_and_a_second_click_turns_them_round(page: str, tmp_path: Path) -> None:
    look = (
        "(() => { const table = d.querySelector('#numbers .tall table'), head = table.tHead.rows[0].cells[2]; "
        "const order = () => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[2].textContent)).join(' '); "
        "head.firstChild.click(); const up = order(); head.firstChild.click(); return up + '|' + order(); })()"
    )
    found, _ = browse(page, tmp_path, 1400, look)
    up, down = ([float(each) for each in part.split()] for part in found.split("|"))
    assert len(up) > 2
    assert up == sorted(up)
    assert down == sorted(up, reverse=True)
