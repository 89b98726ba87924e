"""The page: every section drawn, written and put into one file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

import matplotlib
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.plot.style import COLUMN, VARIABLES
from lit_privq.report.captions import caption, setting
from lit_privq.report.export import address, csv_text, latex
from lit_privq.report.figures import Drawing
from lit_privq.report.headline import headline
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections import (
    attackers,
    calibrated,
    choice,
    classes,
    curves,
    decoupled,
    differences,
    draws,
    epsilon,
    equal_accuracy,
    exposure,
    families,
    glance,
    indicator,
    leakage,
    notes,
    numbers,
    operating,
    provenance,
    standing,
    tradeoff,
    worst_case,
)
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View
from lit_privq.report.words import bound_percent, counted, percent

# Every section of the page, in reading order; those of the second list are folded behind their headings.
OPEN: tuple[Callable[[View, Inputs], Section | None], ...] = (
    glance.section,
    choice.section,
    numbers.section,
)
FOLDED: tuple[Callable[[View, Inputs], Section | None], ...] = (
    tradeoff.section,
    worst_case.section,
    equal_accuracy.section,
    leakage.section,
    decoupled.section,
    notes.section,
    attackers.section,
    differences.section,
    draws.section,
    families.section,
    classes.section,
    curves.section,
    exposure.section,
    standing.section,
    operating.section,
    epsilon.section,
    calibrated.section,
    indicator.section,
    provenance.section,
)
LEADING = ("tradeoff", "worst_case", "equal_accuracy", "leakage")  # whose first figures lead the page


def draw(directory: Path) -> Path:
    """See :func:`lit_privq.report.build`."""
    view, inputs = read_inputs(directory)
    with matplotlib.rc_context(COLUMN):
        opened, folded = (list(_made(which, view, inputs)) for which in (OPEN, FOLDED))
        drawings = [drawing for section in (*opened, *folded) for drawing in section.drawings]
        pictures = {drawing: drawing.files() for drawing in drawings}
    how = setting(view, inputs)
    shown = {drawing.name: captioned(drawing, svg, how) for drawing, (svg, _) in pictures.items()}
    html = _render(view, opened, folded, shown)
    write_figures(directory, {drawing.name: found for drawing, found in pictures.items()})
    atomic_write_bytes(directory / "report.html", html.encode())
    return directory / "report.html"


def _made(
    sections: Iterable[Callable[[View, Inputs], Section | None]], view: View, inputs: Inputs
) -> Iterable[Section]:
    """The sections that have something to show."""
    return (found for section in sections if (found := section(view, inputs)))


def write_figures(directory: Path, pictures: dict[str, tuple[str, bytes]]) -> None:
    """Write every figure as SVG and PNG, and delete those of the page that is there which this one does not draw."""
    for name in _drawn(directory / "report.html") - set(pictures):
        for kind in ("svg", "png"):
            (directory / "figures" / f"{name}.{kind}").unlink(missing_ok=True)
    for name, (svg, png) in pictures.items():
        atomic_write_bytes(directory / "figures" / f"{name}.svg", svg.encode())
        atomic_write_bytes(directory / "figures" / f"{name}.png", png)


def _drawn(page: Path) -> set[str]:
    """Names of the figures in a page: what its SVG elements are called before matplotlib's own names."""
    if not page.is_file():
        return set()
    return set(re.findall(r'id="([\w.-]+)-figure_1"', page.read_text(encoding="utf-8", errors="replace")))


def inline(name: str, svg: str, alt: str) -> Markup:
    """An SVG file as part of the page: its own names, the page's colours, a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1))


def leading(sections: Iterable[Section]) -> list[Drawing]:
    """The figures that stand in the open: the first of each leading section, no more than three."""
    by_name = {section.name: section for section in sections}
    return [by_name[name].drawings[0] for name in LEADING if name in by_name and by_name[name].drawings][:3]


def _render(view: View, opened: list[Section], folded: list[Section], drawn: dict[str, Markup]) -> str:
    """Fill the templates: each section's own, then the page's."""
    templates = environment()
    templates.globals.update(
        view=view,
        attack=view.attack_title(view.attack),
        compared=any(variant != variant.baseline for variant in view.results.variants),
    )
    lead = leading(folded)

    def filled(section: Section) -> tuple[Section, Markup]:
        template = templates.get_template(f"sections/{section.name}.html.j2")
        shown = {drawing.name: drawn[drawing.name] for drawing in section.drawings if drawing not in lead}
        return section, Markup(template.render(**section.values, figures=shown))

    return templates.get_template("page.html.j2").render(
        headline=headline(view),
        lead=[(drawing, drawn[drawing.name]) for drawing in lead],
        opened=list(map(filled, opened)),
        folded=list(map(filled, folded)),
    )


def captioned(drawing: Drawing, svg: str, how: str) -> Markup:
    """The inside of a figure: the picture, and the caption behind a word that opens."""
    text = Markup("<figcaption><details><summary>Caption</summary><p>{}</p></details></figcaption>")
    return inline(drawing.name, svg, drawing.alt) + text.format(caption(drawing, how))


def environment() -> Environment:
    """The templates of this package, and the words that they all use."""
    made = Environment(loader=FunctionLoader(_resource), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.globals.update(percent=percent, bound_percent=bound_percent, counted=counted)
    made.globals.update(address=address, csv_text=csv_text, latex=latex)
    return made


def _resource(name: str) -> str:
    """A file of this package, wherever it is installed."""
    return files("lit_privq.report").joinpath(name).read_text(encoding="utf-8")
