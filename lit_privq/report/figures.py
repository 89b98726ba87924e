"""The figures: one function each, from results to a matplotlib figure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import pairwise
from math import ceil, isfinite, nan

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from lit_privq.artifacts.measures import Change, Front, Rate
from lit_privq.artifacts.results import ALL, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.labels import Boxes, place_labels
from lit_privq.plot.style import CARD, INK, MUTED, Look, looks
from lit_privq.report.utility import R_SQUARED
from lit_privq.report.view import View
from lit_privq.report.words import bits, capitalized, exceptions, measure, spaced, width

_POINTS = 72.0  # to the inch
_WIDTH = 320.0  # points; little more than a phone's width, so that the lettering hardly shrinks there
_LINE = 14.0  # points; height of a line of a key
_COLUMNS = 4  # names in a line of a key
_NARROW = 18  # letters in a line of a narrow column
_HALF = 23  # letters in half of a line
_LONG = 16  # letters; of longer names two stand in a line


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, the name of its files, what is heard by who cannot see it, and perhaps a shorter caption."""

    name: str
    figure: Figure
    alt: str
    caption: str = ""

    def files(self) -> tuple[str, bytes]:
        """The figure as SVG and as PNG; the same figure gives the same bytes."""
        svg, png = StringIO(), BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        self.figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        return svg.getvalue(), png.getvalue()


@dataclass(frozen=True, eq=False)
class Curve:
    """True-positive rate over false-positive rate, averaged over targets at equal false-positive rates.

    Args:
        fpr: (points,) from one non-member to all of them, evenly on a log axis.
        mean: (points,) mean true-positive rate.
        deviation: (points,) standard deviation over targets, 0 for a single one.
    """

    fpr: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def tradeoff(view: View) -> Figure:
    """Accuracy, or R², against leakage to the strongest attacker (the paper's Fig. 1)."""
    groups = {variant.group: view.titles.group(variant) for variant in view.results.variants if variant.quantized}
    columns = 2 if max(map(len, groups.values()), default=0) > _LONG else _COLUMNS
    top = 56.0 + _LINE * ceil(len(groups) / columns)
    figure, axes = _canvas("What each precision costs and saves", height=250.0 + top, bottom=52.0, top=top)
    look = looks(view.results)
    places = _places(view)
    for variant, (leak, useful) in places.items():
        style = look[variant.group]
        axes.errorbar(
            leak.value, useful.value, xerr=_bars(leak), yerr=_bars(useful), color=style.colour, fmt=style.marker,
            markersize=7, markeredgecolor=CARD, markeredgewidth=0.8, elinewidth=1.1, zorder=3,
        )  # fmt: skip
    links = [(variant, _line(places, start, variant)) for start, variant in _links(list(places))]
    for variant, line in links:
        axes.plot(*line, "-" if variant.uniform else ":", color=look[variant.group].colour, lw=1.1, alpha=0.5)
    if view.bound is not None:
        axes.set_xlim(0, max(_ends(leak)[1] for leak, _ in places.values()) * 1.12)
    found = [useful for _, useful in places.values()]
    if view.utility is R_SQUARED:
        axes.margins(y=0.14)
        _r_squared(axes.yaxis, axes.set_yscale, found)
        axes.set_ylabel(view.utility.heading)
    else:
        _accuracies(axes, found)
    _percents(axes, axes.xaxis)
    axes.set_xlabel(f"{capitalized(measure(view.bound))}\n({view.attack_title(view.attack)})")
    _chance(axes, view.chance)
    _key(axes, [_dot(title, look[group]) for group, title in groups.items()], columns)
    points = [(x.value, y.value, _place_name(view, v), look[v.group].colour) for v, (x, y) in places.items()]
    lines = np.concatenate([_upright(axes, view.chance), *(_beads(line) for _, line in links)])
    place_labels(axes, points, np.concatenate([*(_crossed(*place) for place in places.values()), lines]))
    return figure


def _accuracies(axes: Axes, found: Sequence[Rate], *, odds: bool = False) -> None:
    """The axis of accuracy: in log-odds where asked for, or some networks answer almost everything and others fail."""
    low, high = min(_ends(each)[0] for each in found), max(_ends(each)[1] for each in found)
    low, spread = max(low, 0.02), low < 0.6 and high > 0.9
    if not (odds or spread) or low >= high or high >= 1:
        axes.margins(y=0.14)
        axes.set_ylim(max(0.0, axes.get_ylim()[0]), min(1.02, axes.get_ylim()[1]))
        _percents(axes, axes.yaxis)
        axes.set_ylabel("Test accuracy")
        return
    axes.set_yscale("logit")
    axes.set_ylabel("Test accuracy (log-odds scale)")
    ends = np.log([low / (1 - low), high / (1 - high)])
    ends += 0.08 * (ends[1] - ends[0]) * np.array([-1, 1])
    axes.set_ylim(*(1 / (1 + np.exp(-ends))))
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]
    axes.set_yticks([tick for tick in ticks if axes.get_ylim()[0] < tick < axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %"))
    axes.yaxis.set_minor_locator(NullLocator())


def _r_squared(axis: XAxis | YAxis, scale: Callable[..., None], found: Sequence[Rate]) -> None:
    """An axis of R², which has no lower end: logarithmic below -1, where any constant would serve better."""
    if min(_ends(each)[0] for each in found) < -1:
        scale("symlog", linthresh=1)
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))


def leakage(view: View, attack: str, heading: str = "") -> Figure:
    """True-positive rate of one attack by method and bits, every attacker (the paper's Fig. 3)."""
    attackers = tuple(dict.fromkeys(key.attacker for key in view.results.series if key.attack == attack))
    shades = {name: _rates_of(view, view.metric, name, attack) for name in attackers}
    return _rates(view, heading or view.attack_title(attack), shades)


def _rates_of(view: View, metric: str, attacker: str = "", attack: str = "") -> dict[Variant, Rate]:
    """A metric of every variant, where it was measured."""
    found = {variant: view.rate(Key(variant, metric, attacker, attack)) for variant in view.results.variants}
    return {variant: rate for variant, rate in found.items() if rate is not None}


def strongest(view: View, rates: Mapping[str, Mapping[Variant, Rate]]) -> Figure:
    """Leakage to each attacker's best attack, by attacker and variant."""
    return _rates(view, "The best attack of each attacker", rates)


def _rates(view: View, heading: str, shades: Mapping[str, Mapping[Variant, Rate]]) -> Figure:
    """Leakage by variant, a shade for each attacker, and where random guessing lies."""
    figure, axes = _dots(view, heading, shades)
    if view.bound is not None:
        axes.set_xlim(left=0)
    axes.set_xlabel(capitalized(measure(view.bound)))
    _chance(axes, view.chance)
    _attackers(axes, list(shades))
    return figure


def worst_case(view: View) -> Figure:
    """Leakage of all members and of the worst-case slice, by variant that does more than guess, to the strongest."""
    worst = view.focus.worst
    found = {
        "all members": {variant: view.rate(view.focus.key(variant)) for variant in view.results.variants},
        spaced(worst): {variant: view.rate(view.focus.worst_key(variant)) for variant in view.results.variants},
    }
    shades = {
        name: {v: rate for v, rate in rates.items() if rate is not None and v not in view.guessing}
        for name, rates in found.items()
    }
    return _rates(view, "The average and the worst case", shades)


def fronts(view: View, part: str, named: Mapping[str, str]) -> Figure:
    """Accuracy against leakage of a slice: the front of each rival, linear in log-odds of accuracy.

    Args:
        view: what the audit found.
        part: the slice.
        named: the rivals, as people write them.
    """
    shown = [front for front in view.measures.fronts if front.slice == part]
    names = [textwrap.fill(named[front.rival], _HALF) for front in shown]
    half = ceil(len(names) / 2)  # stands in the first column
    top = 56.0 + _LINE * max(len("\n".join(some).splitlines()) for some in (names[:half], names[half:]))
    heading = "Leakage at equal accuracy" + ("" if part == ALL else f": {spaced(part)}")
    figure, axes = _canvas(heading, height=290.0 + top, bottom=52.0, top=top)
    marks, handles, covered = dict[Variant, Look](), list[Line2D](), list[Boxes]()
    for front, name in zip(shown, names, strict=True):
        style, own = _look_of_front(view, front)
        line = [_place(view, variant, part) for variant in _variants(view, front.points)]
        between = np.stack(_between([(x.value, y.value) for x, y in line]))  # (2, points)
        axes.plot(*between, style.line, color=style.colour, lw=1.3, alpha=0.6)
        covered.append(np.vstack([between, between]).T[::4])
        handles.append(_dot(name, style))
        marks |= dict.fromkeys(own, style)
    if view.results.full_precision in marks:
        marks[view.results.full_precision] = looks(view.results)[view.results.full_precision.group]
    places = {variant: _place(view, variant, part) for variant in marks}
    filled = {name for front in shown for name in front.points}
    for variant, (leak, useful) in places.items():
        dot = _dot("", marks[variant], int(variant.name in filled))
        dot.set_data([leak.value], [useful.value])
        axes.add_line(dot)
    axes.set_xlim(0 if view.bound is not None else None, max(leak.value for leak, _ in places.values()) * 1.12)
    _accuracies(axes, [Rate(useful.value, nan, nan) for _, useful in places.values()], odds=True)
    _percents(axes, axes.xaxis)
    axes.set_xlabel(f"{capitalized(measure(view.bound))}\n({view.attack_title(view.attack)})")
    _chance(axes, view.chance)
    _key(axes, handles, columns=2)
    spots = np.array([[x.value, y.value, x.value, y.value] for x, y in places.values()])
    single = {front.points for front in shown if len(front.points + front.dominated) == 1}  # the key has their names
    labels = [
        (x.value, y.value, _place_name(view, variant), marks[variant].colour)
        for variant, (x, y) in places.items()
        if (variant.name,) not in single or variant == view.results.full_precision
    ]
    place_labels(axes, labels, np.concatenate([spots, _upright(axes, view.chance), *covered]), fontsize=8.0)
    return figure


def _variants(view: View, names: Sequence[str]) -> list[Variant]:
    """Variants by their names, in that order."""
    by_name = {variant.name: variant for variant in view.results.variants}
    return [by_name[name] for name in names]


def _look_of_front(view: View, front: Front) -> tuple[Look, list[Variant]]:
    """A method's look, or that of a family's first recipe, and the points that are drawn so: not a method's parent."""
    points = sorted(_variants(view, front.points + front.dominated), key=view.results.variants.index)
    own = [variant for variant in points if variant.quantized] or points
    first = next((variant for variant in own if variant != view.results.full_precision), own[0])
    return looks(view.results)[first.group], own


def draws(view: View, places: Mapping[Variant, Sequence[tuple[float, float]]]) -> Figure:
    """Every run of variants that were repeated: utility against leakage (the paper's Fig. 6).

    Args:
        view: what the audit found.
        places: leakage and utility of every run, by the variant's first draw.
    """
    top = 56.0 + _LINE * len(places)
    figure, axes = _canvas("How far runs differ", height=250.0 + top, bottom=52.0, top=top)
    look, handles = looks(view.results), dict[str, Line2D]()
    for variant, points in places.items():
        style, filled = look[variant.group], int(all(variant.group != one.group for one in _before(places, variant)))
        handles[variant.name] = _dot(view.label(variant), style, filled)
        axes.plot(
            *np.array(points).reshape(-1, 2).T, linestyle="", marker=style.marker, color=style.colour, markersize=4.5,
            alpha=0.6, markerfacecolor=handles[variant.name].get_markerfacecolor(), markeredgewidth=0.8,
        )  # fmt: skip
    axes.margins(0.08)
    axes.set_xlabel(f"{capitalized(measure(view.bound))}\n({view.attack_title(view.attack)})")
    axes.set_ylabel(view.utility.heading)
    _percents(axes)
    _key(axes, list(handles.values()), columns=1)
    return figure


def _before(places: Mapping[Variant, object], variant: Variant) -> list[Variant]:
    """The variants that come before one."""
    return list(places)[: list(places).index(variant)]


def _place(view: View, variant: Variant, part: str) -> tuple[Rate, Rate]:
    """Leakage of a slice, and utility; the audit measured both of what stands in a front."""
    leak = view.rate(view.focus.key(variant) if part == ALL else view.focus.worst_key(variant))
    useful = view.rate(Key(variant, view.utility.metric))
    assert leak is not None
    assert useful is not None
    return leak, useful


def _between(points: Sequence[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leakage and accuracy along a front, (places,) each."""
    leakage, accuracy = np.array(points).T
    accuracy = accuracy.clip(1e-6, 1 - 1e-6)
    odds = np.log(accuracy / (1 - accuracy))  # by hand: a page is drawn without scipy
    steps = np.linspace(odds[0], odds[-1], 100)
    return np.interp(steps, odds, leakage), 1 / (1 + np.exp(-steps))


def classes(view: View, heading: str, label: str, rates: Mapping[str, Mapping[Variant, Rate]]) -> Figure:
    """One metric by class, a marker for each of a few variants."""
    variants = list(dict.fromkeys(variant for each in rates.values() for variant in each))
    figure, axes = _canvas(heading, height=130.0 + 21.0 * len(rates), left=66.0, bottom=44.0, top=64.0)
    look = looks(view.results)
    for row, each in enumerate(rates.values()):
        for place, variant in enumerate(variants):
            if variant not in each:
                continue
            y = row + 6.5 / 21 * (place - (len(variants) - 1) / 2)
            axes.plot(_ends(each[variant]), [y, y], color=look[variant.group].colour, linewidth=2.0, alpha=0.75)
            dot = _dot("", look[variant.group], place)
            dot.set_data([each[variant].value], [y])
            axes.add_line(dot)
    axes.set_ylim(len(rates) - 0.4, -0.6)
    axes.set_yticks(range(len(rates)), list(rates))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.set_xlabel(label)
    axes.set_ylabel("Class")
    _percents(axes, axes.xaxis)
    _key(axes, [_dot(view.label(v), look[v.group], place) for place, v in enumerate(variants)])
    return figure


def changes(view: View, found: Mapping[str, Mapping[Variant, Change]]) -> Figure:
    """Change of leakage from full precision, by attacker and variant, paired over targets, with its interval."""
    shades = {
        attacker: {variant: _change_rate(one) for variant, one in each.items()} for attacker, each in found.items()
    }
    figure, axes = _dots(view, capitalized(measure(view.bound)), shades)
    axes.axvline(0, color=INK, linewidth=0.9, alpha=0.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda points, _: f"{100 * points:.4g}".replace("-", "−")))
    axes.set_xlabel("Change in percentage points; left leaks less")
    _attackers(axes, list(shades))
    return figure


def _change_rate(change: Change) -> Rate:
    """A change with its interval; a single target's own."""
    one = change.each[0] if len(change.each) == 1 else change
    return Rate(one.value, one.low, one.high)


def _attackers(axes: Axes, names: Sequence[str]) -> None:
    """Which marker is which attacker, where there are several."""
    if len(names) > 1:
        _key(axes, [_dot(name, Look(MUTED, "o"), shade) for shade, name in enumerate(names)])


def useful(view: View, heading: str = "") -> Figure:
    """Test accuracy, or R², by method and bits (the paper's Fig. 2)."""
    shades = {"": _utility(view)}
    figure, axes = _dots(view, heading or view.utility.heading, shades)
    if view.utility is R_SQUARED:
        _r_squared(axes.xaxis, axes.set_xscale, list(shades[""].values()))
    reference = view.results.full_precision
    if reference in shades[""]:
        axes.axvline(shades[""][reference].value, color=INK, linewidth=0.9, alpha=0.5)
        _key(axes, [Line2D([], [], color=INK, linewidth=0.9, alpha=0.5, label="full precision")])
    axes.set_xlabel("R² (1 is perfect, 0 the mean label)" if view.utility is R_SQUARED else "Right on the test set")
    return figure


def roc(view: View, precision: float, curves: Mapping[Variant, Curve]) -> Figure:
    """ROC curves at one precision beside full precision, both axes in log scale."""
    figure, axes = _canvas("Full precision" if precision == 32 else width(precision), height=350.0, bottom=44.0)
    look = looks(view.results)
    least = min(float(curve.fpr[0]) for curve in curves.values())
    for variant, curve in curves.items():
        colour = look[variant.group].colour
        low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
        axes.fill_between(curve.fpr, low.clip(least / 10), high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(
            curve.fpr, curve.mean.clip(least / 10), color=colour, label=_curve_name(view, variant), lw=1.8,
            linestyle="-" if variant.uniform else ":",
        )  # fmt: skip
    axes.plot([least, 1], [least, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="Random guessing")
    if view.bound is not None:
        axes.axvline(view.bound, color=MUTED, linewidth=0.7)
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")
    axes.legend(loc="lower right", fontsize=9.5, frameon=True, facecolor=CARD, edgecolor="none", framealpha=0.9)
    return figure


def _line(places: Mapping[Variant, tuple[Rate, Rate]], start: Variant, end: Variant) -> NDArray[np.float64]:
    """From one variant's place to another's, (2 coordinates, 2 points)."""
    return np.array([[value.value for value in places[variant]] for variant in (start, end)]).T


def _beads(line: NDArray[np.float64]) -> Boxes:
    """A line as a string of empty boxes, for labels to keep clear of."""
    points = np.linspace(line[:, 0], line[:, 1], 24)
    return np.hstack([points, points])


def _upright(axes: Axes, x: float) -> Boxes:
    """A vertical line as a box without width."""
    low, high = axes.get_ylim()
    return np.array([[x, low, x, high]])


def _places(view: View) -> dict[Variant, tuple[Rate, Rate]]:
    """Leakage and utility of every variant that has both and does more than guess."""
    leaks = {variant: view.rate(view.focus.key(variant)) for variant in view.results.variants}
    useful = _utility(view)
    return {variant: (leak, useful[variant]) for variant, leak in leaks.items() if leak and variant in useful}


def _utility(view: View) -> dict[Variant, Rate]:
    """Utility of every variant that does more than guess: the others would leave no room for the differences."""
    found = _rates_of(view, view.utility.metric)
    return {variant: rate for variant, rate in found.items() if variant not in view.guessing}


def _links(variants: Sequence[Variant]) -> list[tuple[Variant, Variant]]:
    """What is joined by a line: each method's precisions downwards, and mixed precisions with their uniform twin."""
    pairs = []
    first = {variant.group: variant for variant in reversed(variants) if variant.quantized}
    for group, member in reversed(first.items()):
        chain = [variant for variant in variants if variant == member.parent]
        chain += [variant for variant in variants if variant.group == group and variant.uniform]
        pairs += list(pairwise(chain))
    twins = {(variant.group, variant.bits): variant for variant in variants if variant.uniform}
    others = [variant for variant in variants if not variant.uniform and (variant.group, variant.bits) in twins]
    return pairs + [(twins[variant.group, variant.bits], variant) for variant in others]


def _dots(view: View, heading: str, shades: Mapping[str, Mapping[Variant, Rate]]) -> tuple[Figure, Axes]:
    """A row for each variant and in it a dot for each shade: the first of several hollow, the third half filled."""
    variants = [variant for variant in view.results.variants if any(variant in shade for shade in shades.values())]
    names = {variant: _row_name(view, variant) for variant in variants}
    heights = _heights(names)
    figure, axes = _canvas(heading, height=150.0 + 21.0 * heights[variants[-1]], left=112.0, bottom=44.0, top=70.0)
    look = looks(view.results)
    offsets = [6.5 / 21 * (place - (len(shades) - 1) / 2) for place in range(len(shades))]
    for place, (name, shade) in enumerate(shades.items()):
        for variant, rate in shade.items():
            colour = look[variant.group].colour
            y = heights[variant] + (offsets[place] if variant.quantized else 0.0)
            axes.plot(_ends(rate), [y, y], color=colour, linewidth=2.2, alpha=0.75)
            dot = _dot(name, look[variant.group], place if len(shades) > 1 else 1)
            dot.set(data=([rate.value], [y]), clip_on=False)  # whole at the axis, too
            axes.add_line(dot)
    axes.set_ylim(heights[variants[-1]] + 0.8, -0.8)
    axes.set_yticks(list(heights.values()), list(names.values()))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    _percents(axes, axes.xaxis)
    return figure, axes


def _row_name(view: View, variant: Variant) -> str:
    """A variant's name in a narrow column, where its recipe in full precision stands above it."""
    if not variant.quantized:
        return textwrap.fill(view.titles.group(variant), _NARROW, break_on_hyphens=False)
    name = f"{view.titles.method(variant.method)}\xa0{_precision(variant).removesuffix('bits').rstrip()}"
    return textwrap.fill(
        f"with {name}" if view.titles.recipe(variant.recipe) else name, _NARROW, break_on_hyphens=False
    )


def _curve_name(view: View, variant: Variant) -> str:
    """A variant's name where the heading says the precision."""
    return view.titles.group(variant) + exceptions(variant)


def _place_name(view: View, variant: Variant) -> str:
    """A variant's name beside its point, where colour and marker tell the method."""
    recipe = view.titles.recipe(variant.recipe)
    return recipe if recipe and not variant.quantized else _precision(variant)


def _precision(variant: Variant) -> str:
    """A variant's precision beside a point."""
    if not variant.quantized:
        return "full precision"
    return bits(variant) if variant.uniform else f"{variant.bits:g}{exceptions(variant).replace(' layer', '')}"


def _heights(names: Mapping[Variant, str]) -> dict[Variant, float]:
    """Rows from the top, with a gap between methods and recipes, and room for a name of two lines."""
    heights: dict[Variant, float] = {}
    height, group = -1.0, next(iter(names)).group
    for variant, name in names.items():
        height += (1.0 if variant.group == group else 1.5) + 0.3 * name.count("\n")
        heights[variant], group = height, variant.group
    return heights


def _canvas(
    heading: str, height: float, left: float = 66.0, right: float = 22.0, top: float = 36.0, bottom: float = 36.0
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and fixed margins, all in points."""
    figure = Figure(figsize=(_WIDTH / _POINTS, height / _POINTS))
    box = (left / _WIDTH, bottom / height, (_WIDTH - left - right) / _WIDTH, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    figure.text(10 / _WIDTH, 1 - 10 / height, heading, va="top", fontsize=12.5, fontweight="bold", color=INK)
    return figure, axes


def _percents(axes: Axes, *which: object) -> None:
    """Ticks in percent, few enough to read on a phone."""
    for axis in which or (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # type: ignore[attr-defined]
        axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %"))  # type: ignore[attr-defined]


def _chance(axes: Axes, rate: float) -> None:
    """Draw and name the line where random guessing lies."""
    axes.axvline(rate, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        "random guessing", (rate, 1), (0, 3), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        ha="center", color=MUTED, fontsize=9,
    )  # fmt: skip


def _dot(name: str, look: Look, shade: int = 1) -> Line2D:
    """A marker: hollow, filled or half filled."""
    face = CARD if shade == 0 else look.colour
    return Line2D(
        [], [], color=look.colour, marker=look.marker, linestyle="", markersize=6.5, markeredgewidth=1.4,
        markerfacecolor=face, markerfacecoloralt=CARD, fillstyle="left" if shade > 1 else "full", label=name,
    )  # fmt: skip


def _key(axes: Axes, handles: Sequence[Line2D], columns: int = _COLUMNS) -> None:
    """Names of colours and markers, below the heading."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    place = (3 / _WIDTH, 1 - 27 / (figure.get_figheight() * _POINTS))
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=min(len(handles), columns), fontsize=10,
        handlelength=1.4, handletextpad=0.3, columnspacing=1.2, borderaxespad=0,
    )  # fmt: skip


def _ends(rate: Rate) -> tuple[float, float]:
    """The interval; the value twice where there is none."""
    return (rate.low, rate.high) if isfinite(rate.low) else (rate.value, rate.value)


def _bars(rate: Rate) -> NDArray[np.float64]:
    """How far the interval reaches below and above the value, (2, 1)."""
    low, high = _ends(rate)
    return np.array([[rate.value - low], [high - rate.value]])


def _crossed(leak: Rate, useful: Rate) -> Boxes:
    """The two intervals of a point, as boxes without width."""
    (left, right), (low, high) = _ends(leak), _ends(useful)
    return np.array([[left, useful.value, right, useful.value], [leak.value, low, leak.value, high]])
