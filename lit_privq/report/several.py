"""One page over several studies: utility and leakage by data set, method and bits, the paper's Figs. 2 and 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
from markupsafe import Markup

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.json_file import read_json
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.style import COLUMN
from lit_privq.report import figures, findings
from lit_privq.report.captions import setting
from lit_privq.report.figures import Drawing
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.page import captioned, environment, write_figures
from lit_privq.report.table import EMPTY, PageCell, PageRow, PageTable, rate_cell
from lit_privq.report.utility import R_SQUARED
from lit_privq.report.view import View
from lit_privq.report.words import (
    NUMBER,
    PERCENT,
    POINTS,
    Step,
    Titles,
    capitalized,
    counted,
    decimals,
    joined,
    measure,
    percent,
    points,
    spaced,
    width,
)


def draw(directories: Sequence[Path], output: Path) -> Path:
    """See :func:`lit_privq.report.build_several`."""
    studies = _read(directories, output)
    views = on_one_page({name: view for name, (view, _) in studies.items()})
    how = {name: setting(views[name], inputs) for name, (_, inputs) in studies.items()}
    pictures: dict[str, tuple[str, bytes]] = {}

    def shown(drawings: Iterator[tuple[str, Drawing]]) -> list[Markup]:
        made = []
        for name, drawing in drawings:
            pictures[drawing.name] = drawing.files()
            made.append(captioned(drawing, pictures[drawing.name][0], how[name]))
        return made

    rows = shared_rows(views)
    with matplotlib.rc_context(COLUMN):
        parts = [
            ("Utility by method and precision", shown(_utilities(views, rows))),
            ("Leakage by method and precision", shown(_leaks(views, rows, slice(0, 1)))),
            ("The average and the worst case", shown(_worst_cases(views, rows))),
        ]
        others = shown(_leaks(views, rows, slice(1, None)))
    html = (
        environment()
        .get_template("several.html.j2")
        .render(
            views=views,
            lead=lead(views),
            ends=ends(views),
            found={name: findings.tradeoff(view) for name, view in views.items()},
            facts={name: _facts(view) for name, view in views.items()},
            glance=glance(views),
            parts=[(heading, drawings) for heading, drawings in parts if drawings],
            others=others,
            table=_table(views),
        )
    )
    write_figures(output, pictures)
    atomic_write_bytes(output / "report.html", html.encode())
    return output / "report.html"


def _read(directories: Sequence[Path], output: Path) -> dict[str, tuple[View, Inputs]]:
    """What each study has by its name, in the order given."""
    if len(directories) < 2:
        raise ValueError(f"a page over several studies needs two folders at least; got {directories[0]}, name another")
    studies: dict[str, tuple[View, Inputs]] = {}
    folders: dict[str, Path] = {}
    for directory in directories:
        if output.resolve().is_relative_to(directory.resolve()):
            raise ValueError(
                f"the page over several studies needs a folder of its own; {output} lies in the study {directory}, "
                "choose another --output"
            )
        view, inputs = read_inputs(directory)
        name = read_json(directory / "study.json").get("name")
        if not name:
            raise ValueError(
                f"{directory} is no finished study: its study.json is not there or has no name; run the study again"
            )
        if name in studies:
            raise ValueError(
                f"studies on one page must have names of their own; {folders[name]} and {directory} are both {name}, "
                "leave one out, or give the study file another name and run it again"
            )
        studies[name], folders[name] = (view, inputs), directory
    return studies


def on_one_page(views: dict[str, View]) -> dict[str, View]:
    """The views with the looks and titles of the whole page."""
    page = tuple(view.results for view in views.values())
    titles = [view.titles for view in reversed(views.values())]
    methods, attacks, recipes = (
        {name: title for each in titles for name, title in getattr(each, kind).items()}
        for kind in ("methods", "attacks", "recipes")
    )
    return {
        name: replace(view, page=page, titles=Titles(methods, attacks, {**recipes, **view.titles.recipes}))
        for name, view in views.items()
    }


def shared_rows(views: Mapping[str, View]) -> list[Variant]:
    """The rows of all figures: every variant of a first recipe that does more than guess in any study."""
    shown = dict.fromkeys(variant for view in views.values() for variant in view.shown if not variant.recipe)
    return _by_method(list(shown))


def _by_method(variants: Sequence[Variant]) -> list[Variant]:
    """Methods by their first appearance, the finest precision first, mixed ones last."""
    groups = list(dict.fromkeys(variant.group for variant in variants))
    return sorted(variants, key=lambda v: (groups.index(v.group), not v.uniform, -v.bits))


def lead(views: Mapping[str, View]) -> str:
    """In how many studies lower precision leaks less, on average and in the worst case."""
    less = [name for name, view in views.items() if view.focus.least_costly or view.focus.largest]
    worst = [name for name, view in views.items() if any(variant.quantized for variant in view.protected)]
    known = any(view.focus.worst_family for view in views.values())
    also = f", in the worst case in {_where(worst, views)}" if known else ""
    return f"Lower precision leaks clearly less in {_where(less, views)}{also}."


def _where(names: Sequence[str], views: Mapping[str, View]) -> str:
    """Some of the studies."""
    if len(names) == len(views):
        return f"all {len(views)} studies"
    return f"{len(names)} of {len(views)} studies ({joined(list(names))})" if names else f"none of {len(views)} studies"


def ends(views: Mapping[str, View]) -> str:
    """What is found at both ends of the precisions, on average and in the worst case; empty where nobody quantized."""
    full = [(view, view.results.full_precision) for view in views.values()]
    low = [(view, view.lowest) for view in views.values()]
    first, last = (_found([(view, v) for view, v in each if v]) for each in (full, low))
    return f"At full precision {first}; at the lowest precision of use {last}." if last else ""


def _found(models: Sequence[tuple[View, Variant]]) -> str:
    """The range over studies of what is found, of all members and of the worst case."""
    average = [rate.value for view, v in models if (rate := view.rate(view.focus.key(v)))]
    worst = [rate.value for view, v in models if (rate := view.worst(v))]
    names = joined(list(dict.fromkeys(f"the {spaced(view.focus.worst)}" for view, _ in models if view.focus.worst)))
    found = [f"{_range(average, POINTS, PERCENT)} of all members are found"] if average else []
    return joined([*found, f"the AUC among {names} is {_range(worst, NUMBER)}"] if worst else found)


def _range(values: Sequence[float], step: Step, unit: str = "") -> str:
    return " to ".join(dict.fromkeys(map(step.size, (min(values), max(values))))) + unit


def _facts(view: View) -> str:
    """What a study is about."""
    about = filter(None, (view.results.dataset, view.results.net))
    return ", ".join([*about, counted(len(view.results.targets), "target"), measure(view.bound)])


def glance(views: Mapping[str, View]) -> PageTable:
    """A row for each study and method, a column for each precision."""
    precisions = sorted({v.bits for view in views.values() for v in view.plain}, reverse=True)
    rows = [
        PageRow(spaced(name), name, (PageCell(view.titles.method(method)), *_at(view, method, precisions)))
        for name, view in views.items()
        for method in dict.fromkeys(variant.method for variant in view.plain)
        if any(variant.method == method for variant in view.plain if variant in view.shown)
    ]
    return PageTable(("Study", "Method", "Full precision", *map(width, precisions)), tuple(rows))


def _at(view: View, method: str, precisions: Sequence[float]) -> Iterator[PageCell]:
    """A method at full and at every other precision."""
    by_bits = {variant.bits: variant for variant in view.plain if variant.method == method}
    for variant in (view.results.full_precision, *map(by_bits.get, precisions)):
        if variant in view.guessing:
            yield PageCell("only guesses")
        else:
            yield _three(view, variant) if variant else EMPTY


def _three(view: View, variant: Variant) -> PageCell:
    """Leakage, strong where it is clearly less than at full precision; below it accuracy and worst case."""
    leak, worst, useful = view.leak(variant), view.worst(variant), view.useful(variant)
    digits, saving = decimals(view.bound), view.saving(variant)
    name = "R²" if view.utility is R_SQUARED else "acc."
    notes = [f"{name} {view.utility.text(useful.value)}"] if useful else []
    notes += [f"worst AUC {NUMBER.size(worst.value)}"] if worst else []
    clear = saving is not None and saving.verdict in ("lower", "higher")
    return PageCell(percent(leak.value, digits) if leak else "–", ", ".join(notes), clear)


def _utilities(views: Mapping[str, View], rows: Sequence[Variant]) -> Iterator[tuple[str, Drawing]]:
    """A figure of each study whose models' use is known."""
    for name, view in views.items():
        if view.focus.utility:
            alt = f"{capitalized(view.utility.name)} by method and bits: {name}; the table has the numbers."
            yield name, Drawing(f"{view.utility.metric}_{name}", figures.useful(view, rows, name), alt)


def _leaks(views: Mapping[str, View], rows: Sequence[Variant], places: slice) -> Iterator[tuple[str, Drawing]]:
    """A figure of each study for each of some attacks of its headline."""
    for name, view in views.items():
        for attack in view.focus.attacks[places]:
            title = view.attack_title(attack)
            alt = f"Leakage by method, bits and attacker under {title}: {name}; the table has the numbers."
            yield name, Drawing(f"leakage_{attack}_{name}", figures.leakage(view, attack, rows, name), alt)


def _worst_cases(views: Mapping[str, View], rows: Sequence[Variant]) -> Iterator[tuple[str, Drawing]]:
    """A figure of each study that has a worst-case slice."""
    for name, view in views.items():
        if view.knows_worst:
            what = f"AUC among all examples and among the {spaced(view.focus.worst)}"
            alt = f"{what}, by method and bits: {name}; the table has the numbers."
            yield name, Drawing(f"worst_case_{name}", figures.worst_case(view, rows, name), alt)


def _table(views: Mapping[str, View]) -> PageTable:
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
        for variant in _by_method(list(variants))
    ]
    return PageTable(("Model", *heads), tuple(rows))


def _cells(views: Mapping[str, View], variant: Variant) -> Iterator[PageCell]:
    for view in views.values():
        if view.focus.utility:
            rate = view.rate(Key(variant, view.utility.metric))
            yield PageCell(view.utility.text(rate.value)) if rate else EMPTY
        yield rate_cell(view.rate(view.focus.key(variant)), points(view.bound), PERCENT)
