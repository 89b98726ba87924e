"""One page over several studies: utility and leakage by data set, method and bits, the paper's Figs. 2 and 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.style import COLUMN
from lit_privq.report import figures
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import read_inputs
from lit_privq.report.page import environment, inline, write_figures
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import capitalized, decimals, measure, percent, ranged


def draw(directories: Sequence[Path], output: Path) -> Path:
    """See :func:`lit_privq.report.build_several`."""
    views = _read(directories, output)
    with matplotlib.rc_context(COLUMN):
        parts = [("Utility", list(_utilities(views))), ("Leakage", list(_leaks(views)))]
        pictures = {drawing.name: drawing.files() for _, drawings in parts for drawing in drawings}
    shown = [
        (heading, [inline(each.name, pictures[each.name][0], each.alt) for each in drawings])
        for heading, drawings in parts
        if drawings
    ]
    html = environment().get_template("several.html.j2").render(views=views, parts=shown, table=_table(views))
    write_figures(output, pictures)
    atomic_write_bytes(output / "report.html", html.encode())
    return output / "report.html"


def _read(directories: Sequence[Path], output: Path) -> dict[str, View]:
    """Views of the studies by their names, in the order given."""
    if len(directories) < 2:
        raise ValueError(f"a page over several studies needs two folders at least; got {directories[0]}, name another")
    views: dict[str, View] = {}
    folders: dict[str, Path] = {}
    for directory in directories:
        if output.resolve().is_relative_to(directory.resolve()):
            raise ValueError(
                f"the page over several studies needs a folder of its own; {output} lies in the study {directory}, "
                "choose another --output"
            )
        view, _ = read_inputs(directory)
        name = read_json(directory / "study.json").get("name")
        if not name:
            raise ValueError(
                f"{directory} is no finished study: its study.json is not there or has no name; run the study again"
            )
        if name in views:
            raise ValueError(
                f"studies on one page must have names of their own; {folders[name]} and {directory} are both {name}, "
                "leave one out, or give the study file another name and run it again"
            )
        views[name], folders[name] = view, directory
    return views


def _utilities(views: dict[str, View]) -> Iterator[Drawing]:
    """A figure of each study whose models' use is known."""
    for name, view in views.items():
        if view.focus.utility:
            alt = f"{capitalized(view.utility.name)} by method and bits: {name}; the table has the numbers."
            yield Drawing(f"{view.utility.metric}_{name}", figures.useful(view, over=name), alt)


def _leaks(views: dict[str, View]) -> Iterator[Drawing]:
    """A figure of each study and attack of its headline, studies side by side."""
    for place in range(max(len(view.focus.attacks) for view in views.values())):
        for name, view in views.items():
            for attack in view.focus.attacks[place : place + 1]:
                title = view.attack_title(attack)
                alt = f"Leakage by method, bits and attacker under {title}: {name}; the table has the numbers."
                yield Drawing(f"leakage_{attack}_{name}", figures.leakage(view, attack, over=name), alt)


def _table(views: dict[str, View]) -> PageTable:
    """A row for each variant of any study, and for each study its utility and leakage."""
    heads = [
        head
        for name, view in views.items()
        for head in (
            *([f"{name}: {view.utility.name}"] if view.focus.utility else []),
            f"{name}: {measure(view.bound)}",
        )
    ]
    variants = dict.fromkeys(variant for view in views.values() for variant in view.results.variants)
    first = {variant: next(view for view in views.values() if variant in view.results.variants) for variant in variants}
    rows = [
        PageRow(first[variant].label(variant), variant.group, tuple(_cells(views, variant)))
        for variant in sorted(variants, key=lambda v: list(dict.fromkeys(one.group for one in variants)).index(v.group))
    ]
    return PageTable(("Model", *heads), tuple(rows))


def _cells(views: dict[str, View], variant: Variant) -> Iterator[PageCell]:
    for view in views.values():
        if view.focus.utility:
            rate = view.rate(Key(variant, view.utility.metric))
            yield PageCell(view.utility.text(rate.value)) if rate else PageCell("–")
        rate, digits = view.rate(view.focus.key(variant)), decimals(view.bound)
        yield PageCell(percent(rate.value, digits), ranged(rate.low, rate.high, digits)) if rate else PageCell("–")
