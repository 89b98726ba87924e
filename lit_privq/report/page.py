"""The page: everything drawn, written and put into one file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.results import read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.indicator.shadows import read_shadows
from lit_privq.plot.style import RC, VARIABLES
from lit_privq.report import figures, table
from lit_privq.report.focus import Focus, focus
from lit_privq.report.headline import answer
from lit_privq.report.inputs import Scores, read_json, read_scores
from lit_privq.report.measured import Measured, read_measured
from lit_privq.report.sections import notes
from lit_privq.report.sections.attackers import attackers, best
from lit_privq.report.sections.calibrated import calibrated
from lit_privq.report.sections.curves import mean_curve
from lit_privq.report.sections.differences import compared, differences
from lit_privq.report.sections.epsilon import epsilon
from lit_privq.report.sections.exposure import exposure
from lit_privq.report.sections.indicator import Beside
from lit_privq.report.sections.operating import operating
from lit_privq.report.sections.provenance import provenance
from lit_privq.report.sections.standing import examples
from lit_privq.report.words import bound_percent, capitalized, label, percent, title


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, and what somebody hears who cannot see it."""

    name: str
    figure: Figure
    alt: str


def draw(directory: Path) -> Path:
    """See :func:`lit_privq.report.build`."""
    if not directory.is_dir():
        raise FileNotFoundError(f"a report needs the folder of a study or an audit; {directory} is not there")
    seen = focus(read_results(directory / "results.csv"))
    scores, study = _all_scores(directory, seen), read_json(directory / "study.json")
    measured = read_measured(directory / "metrics.json", seen.results)
    runs = read_shadows(directory / "indicator")
    mis = Beside(runs, seen) if runs else None
    with matplotlib.rc_context(RC):
        drawings = {drawing.name: drawing for drawing in _drawings(seen, measured, scores)}
        drawings |= {drawing[0]: Drawing(*drawing) for drawing in mis.figures()} if mis else {}
        pictures = {name: _files(drawing) for name, drawing in drawings.items()}
    inline = {name: _inline(name, svg, drawings[name].alt) for name, (svg, _) in pictures.items()}
    html = _render(seen, measured, scores, study, inline, mis)
    for name, (svg, png) in pictures.items():
        atomic_write_bytes(directory / "figures" / f"{name}.svg", svg.encode())
        atomic_write_bytes(directory / "figures" / f"{name}.png", png)
    atomic_write_bytes(directory / "report.html", html.encode())
    return directory / "report.html"


def _all_scores(directory: Path, seen: Focus) -> dict[Variant, Scores]:
    """The headline attack's scores of every variant under its strongest attacker, where they were kept."""
    found = {
        variant: read_scores(directory, seen.results, variant, seen.strongest(variant), seen.attack)
        for variant in seen.results.variants
    }
    return {variant: scores for variant, scores in found.items() if scores is not None}


def _drawings(seen: Focus, measured: Measured, scores: Mapping[Variant, Scores]) -> Iterator[Drawing]:
    """Every figure the data allow."""
    useful, name = seen.utility.metric in seen.results.metrics, capitalized(seen.utility.name)
    if useful:
        alt = f"{name} against leakage, a point for each precision and method."
        yield Drawing("tradeoff", figures.tradeoff(seen), alt)
    for attack in seen.attacks:
        alt = f"Leakage by method, bits and attacker under {title(attack)}; the numbers are in the table."
        yield Drawing(f"leakage_{re.sub(r'[^A-Za-z0-9_.-]+', '-', attack)}", figures.leakage(seen, attack), alt)
    if useful:
        alt = f"{name} by method and bits; the numbers are in the table."
        yield Drawing(seen.utility.metric, figures.useful(seen), alt)
    if best(seen, measured):
        alt = "Leakage to the best of each attacker’s attacks, with intervals; the numbers are in the table."
        yield Drawing("strongest", figures.strongest(seen, measured), alt)
    if differences(seen, measured):
        alt = "Change of leakage from full precision, with intervals; the numbers are in the table."
        yield Drawing("changes", figures.changes(seen, measured), alt)
    curves = {variant: mean_curve(each) for variant, each in scores.items()}
    plain = {variant: curve for variant, curve in curves.items() if not variant.quantized}
    for bits in dict.fromkeys(variant.bits for variant in curves if variant.quantized or len(curves) == 1):
        shown = plain | {variant: curve for variant, curve in curves.items() if variant.bits == bits}
        alt = f"ROC curves at {bits:g} bits beside full precision, both axes in log scale."
        yield Drawing(f"roc_{bits:g}", figures.roc(seen, bits, shown), alt)


def _files(drawing: Drawing) -> tuple[str, bytes]:
    """A figure as SVG and PNG; the same figure gives the same bytes."""
    svg, png = StringIO(), BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": drawing.name}):
        drawing.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    drawing.figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _inline(name: str, svg: str, alt: str) -> Markup:
    """An SVG file as part of the page: its own names, the page's colours, a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1))


def _render(
    seen: Focus,
    measured: Measured,
    scores: Mapping[Variant, Scores],
    study: Mapping[str, Any],
    drawings: Mapping[str, Markup],
    mis: Beside | None,
) -> str:
    """Fill the template."""
    plain = seen.results.full_precision
    shown = exposure(scores, plain, seen.bound) if plain and plain in scores and seen.bound is not None else None
    shadows = study.get("n_shadows")
    environment = Environment(
        loader=FunctionLoader(_resource), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals.update(label=label, percent=percent, bound_percent=bound_percent, title=title, heat=heat)
    return environment.get_template("page.html.j2").render(
        seen=seen,
        answer=answer(seen),
        drawings=drawings,
        mis=mis,
        strongest=attackers(seen, measured),
        differences=compared(seen, measured),
        operating=operating(seen, measured),
        epsilon=epsilon(seen, measured),
        examples=examples(seen, measured),
        calibrated=calibrated(seen, measured),
        remarks=measured.notes,
        summary=table.summary(seen),
        attacks=table.all_attacks(seen),
        exposure=shown,
        choice=notes.choice(shown) if shown else "",
        notes=notes.notes(seen, scores.get(plain) if plain else None, shadows if isinstance(shadows, int) else None),
        provenance=provenance(study),
        compared=any(variant.quantized for variant in seen.results.variants),
        leaks=[name for name in drawings if name.startswith("leakage_")],
        curves=[name for name in drawings if name.startswith("roc_")],
    )


def heat(rate: float) -> int:
    """How strongly an example is accused, in five steps of its false-positive rate; 4 is the strongest.

    >>> [heat(rate) for rate in (0.001, 0.01, 0.03, 0.2, 0.9)]
    [4, 3, 2, 1, 0]
    """
    return sum(rate <= step for step in (0.5, 0.05, 0.01, 0.002))


def _resource(name: str) -> str:
    """A file of this package, wherever it is installed."""
    return files("lit_privq.report").joinpath(name).read_text(encoding="utf-8")
