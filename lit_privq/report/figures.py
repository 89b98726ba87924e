"""The figures: one function each, from results to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import pairwise
from math import ceil, isfinite, nan

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from lit_privq.artifacts.measures import Change, Front, Rate
from lit_privq.artifacts.results import ALL, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.labels import Boxes, place_labels, text_width, wrapped
from lit_privq.plot.style import CARD, COLUMN_INCHES, INK, MUTED, Look
from lit_privq.report import findings
from lit_privq.report.utility import R_SQUARED
from lit_privq.report.view import View
from lit_privq.report.words import bits, capitalized, exceptions, measure, spaced

# All lengths and letters in points.
_POINTS = 72.0  # to the inch
_WIDTH = COLUMN_INCHES * _POINTS
_EDGE = 5.0
_TITLE, _TEXT, _SMALL = 8.0, 7.5, 7.0  # letters
_TITLE_LINE, _KEY_LINE, _ROW = 10.5, 10.5, 15.5  # heights
_HANDLE = 19.0  # what a name in a key needs besides its letters
_NAMES = 80.0  # width of the names of rows
_COLUMNS = 4  # of a key, at most
_ONE_LINE, _TWO_LINES = 28.0, 37.0  # below the axes: ticks and the name of the axis
_ERRS = 4.0  # where some networks err this many times as often as others, accuracy stands on a scale of log-odds
_CROWDED = 18  # points whose names leave room for each other


Rows = Sequence[Variant] | None


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
        self.figure.savefig(png, format="png", dpi=300, metadata={"Software": None})
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
    """Accuracy, or R², against leakage to the strongest attacker (the paper's Fig. 1).

    In a crowded figure only full precision and the lowest precision of each line have their names.
    """
    places = _places(view)
    groups = {variant.group: view.titles.group(variant) for variant in places if variant.quantized}
    handles = [handle(title, view.looks[group]) for group, title in groups.items()]
    figure, axes = canvas(findings.tradeoff(view), 176.0, handles, bottom=_TWO_LINES)
    for variant, (leak, useful) in places.items():
        style = view.looks[variant.group]
        axes.errorbar(
            leak.value, useful.value, xerr=_bars(leak), yerr=_bars(useful), color=style.colour, fmt=style.marker,
            ecolor=to_rgba(style.colour, 0.5), markersize=5.2, markeredgecolor=CARD, markeredgewidth=0.6,
            elinewidth=0.8, zorder=3,
        )  # fmt: skip
    links = [(variant, _line(places, start, variant)) for start, variant in _links(list(places))]
    for variant, line in links:
        axes.plot(*line, "-" if variant.uniform else ":", color=view.looks[variant.group].colour, lw=0.8, alpha=0.5)
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
    lowest = {variant.group: variant for variant in sorted(places, key=lambda one: -one.bits)}
    named = [v for v in places if len(places) <= _CROWDED or not v.quantized or lowest[v.group] == v]
    points = [(places[v][0].value, places[v][1].value, _place_name(view, v), view.looks[v.group].colour) for v in named]
    lines = np.concatenate([_upright(axes, view.chance), *(_beads(line) for _, line in links)])
    obstacles = np.concatenate([*(_crossed(*place) for place in places.values()), lines])
    place_labels(axes, points, obstacles, fontsize=_SMALL)
    return figure


def _accuracies(axes: Axes, found: Sequence[Rate], *, odds: bool = False) -> None:
    """The axis of accuracy: in log-odds where asked for, or where some networks err far more often than others."""
    values = [each.value for each in found]
    low, high = max(min(values), 0.02), max(values)
    if high >= 1 or low >= high or not (odds or 1 - low > _ERRS * (1 - high)):
        axes.margins(y=0.14)
        axes.set_ylim(max(0.0, axes.get_ylim()[0]), min(1.02, axes.get_ylim()[1]))
        _percents(axes, axes.yaxis)
        axes.set_ylabel("Test accuracy")
        return
    axes.set_yscale("logit", nonpositive="clip")
    axes.set_ylabel("Test accuracy (log-odds scale)")
    ends = np.array([min(_ends(each)[0] for each in found), max(_ends(each)[1] for each in found)])
    inner, outer = _log_odds(np.array([low, high])), _log_odds(ends)
    room = (inner[1] - inner[0]) * np.array([-0.3, 0.3])  # for intervals; longer ones are cut
    outer = outer.clip(*(inner + room)) + 0.25 * room
    axes.set_ylim(*(1 / (1 + np.exp(-outer))))
    ticks = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]
    axes.set_yticks([tick for tick in ticks if axes.get_ylim()[0] < tick < axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %"))
    axes.yaxis.set_minor_locator(NullLocator())


def _log_odds(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """By hand: a page is drawn without scipy."""
    accuracy = accuracy.clip(1e-6, 1 - 1e-6)
    return np.log(accuracy / (1 - accuracy))


def _r_squared(axis: XAxis | YAxis, scale: Callable[..., None], found: Sequence[Rate]) -> None:
    """An axis of R², which has no lower end: logarithmic below -1, where any constant would serve better."""
    if min(_ends(each)[0] for each in found) < -1:
        scale("symlog", linthresh=1)
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))


def leakage(view: View, attack: str, rows: Rows = None, over: str = "") -> Figure:
    """True-positive rate of one attack by method and bits, every attacker (the paper's Fig. 3).

    Args:
        view: what the audit found.
        attack: its name.
        rows: the variants that have a row, so that figures of several studies can be compared; None for its own.
        over: what stands above the title.
    """
    attackers = dict.fromkeys(key.attacker for key in view.results.series if key.attack == attack)
    shades = {name: _rates_of(view, view.metric, name, attack) for name in attackers}
    return _rates(view, findings.attack(view, attack), shades, rows, over)


def _rates_of(view: View, metric: str, attacker: str = "", attack: str = "") -> dict[Variant, Rate]:
    """A metric of every variant, where it was measured."""
    found = {variant: view.rate(Key(variant, metric, attacker, attack)) for variant in view.results.variants}
    return {variant: rate for variant, rate in found.items() if rate is not None}


def strongest(view: View, rates: Mapping[str, Mapping[Variant, Rate]]) -> Figure:
    """Leakage to each attacker's best attack, by attacker and variant."""
    return _rates(view, findings.strongest(view), rates)


def worst_case(view: View, rows: Rows = None, over: str = "") -> Figure:
    """AUC among all examples and among the worst-case slice, by variant that does more than guess, to the strongest."""
    areas = {v: (view.rate(view.focus.key(v, "auc")), view.worst(v)) for v in view.shown}
    shades = {
        name: {variant: rate for variant, rates in areas.items() if (rate := rates[place])}
        for place, name in enumerate(("all examples", spaced(view.focus.worst)))
    }
    figure, axes = _dots(view, findings.average_and_worst(view), shades, rows, over)
    axes.set_xlabel("AUC of the attack")
    _chance(axes, 0.5)
    return figure


def _rates(
    view: View, title: str, shades: Mapping[str, Mapping[Variant, Rate]], rows: Rows = None, over: str = ""
) -> Figure:
    """Leakage by variant, a shade for each attacker, and where random guessing lies."""
    figure, axes = _dots(view, title, shades, rows, over)
    if view.bound is not None:
        axes.set_xlim(left=0)
    axes.set_xlabel(capitalized(measure(view.bound)))
    _chance(axes, view.chance)
    return figure


def fronts(view: View, part: str, named: Mapping[str, str]) -> Figure:
    """Accuracy against leakage of a slice: the front of each rival, linear in log-odds of accuracy.

    Args:
        view: what the audit found.
        part: the slice.
        named: the rivals, as people write them.
    """
    shown = [front for front in view.measures.fronts if front.slice == part]
    styles = [_look_of_front(view, front) for front in shown]
    handles = [handle(named[front.rival], style) for front, (style, _) in zip(shown, styles, strict=True)]
    figure, axes = canvas(findings.at_equal_accuracy(view, part), 200.0, handles, bottom=_TWO_LINES)
    marks, covered = dict[Variant, Look](), list[Boxes]()
    for front, (style, own) in zip(shown, styles, strict=True):
        line = [_place(view, variant, part) for variant in _variants(view, front.points)]
        between = np.stack(_between([(x.value, y.value) for x, y in line]))  # (2, points)
        axes.plot(*between, style.line, color=style.colour, lw=1.0, alpha=0.6)
        covered.append(np.vstack([between, between]).T[::4])
        marks |= dict.fromkeys(own, style)
    if view.results.full_precision in marks:
        marks[view.results.full_precision] = view.looks[view.results.full_precision.group]
    places = {variant: _place(view, variant, part) for variant in marks}
    filled = {name for front in shown for name in front.points}
    for variant, (leak, useful) in places.items():
        dot = handle("", marks[variant], int(variant.name in filled))
        dot.set_data([leak.value], [useful.value])
        axes.add_line(dot)
    bound, chance = (view.bound, view.chance) if part == ALL else (None, 0.5)
    if bound is not None:
        axes.set_xlim(0, max(leak.value for leak, _ in places.values()) * 1.12)
    _accuracies(axes, [Rate(useful.value, nan, nan) for _, useful in places.values()], odds=True)
    if part == ALL:
        _percents(axes, axes.xaxis)
    axes.set_xlabel(f"{capitalized(view.measured(part))}\n({view.attack_title(view.attack)})")
    _chance(axes, chance)
    spots = np.array([[x.value, y.value, x.value, y.value] for x, y in places.values()])
    single = {front.points for front in shown if len(front.points + front.dominated) == 1}  # the key has their names
    labels = [
        (x.value, y.value, _place_name(view, variant), marks[variant].colour)
        for variant, (x, y) in places.items()
        if (variant.name,) not in single or variant == view.results.full_precision
    ]
    place_labels(axes, labels, np.concatenate([spots, _upright(axes, chance), *covered]), fontsize=_SMALL)
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
    return view.looks[first.group], own


def draws(view: View, places: Mapping[Variant, Sequence[tuple[float, float]]]) -> Figure:
    """Every run of variants that were repeated: utility against leakage (the paper's Fig. 6).

    Args:
        view: what the audit found.
        places: leakage and utility of every run, by the variant's first draw.
    """
    places = {variant: points for variant, points in places.items() if points}
    handles = {
        variant: handle(view.label(variant), view.looks[variant.group], int(not _has_its_group(places, variant)))
        for variant in places
    }
    title = findings.draws(view, sum(map(len, places.values())))
    figure, axes = canvas(title, 150.0, list(handles.values()), bottom=_TWO_LINES)
    for variant, points in places.items():
        style = view.looks[variant.group]
        axes.plot(
            *np.array(points).T, linestyle="", marker=style.marker, color=style.colour, markersize=3.4, alpha=0.6,
            markerfacecolor=handles[variant].get_markerfacecolor(), markeredgewidth=0.6,
        )  # fmt: skip
    axes.margins(0.08)
    axes.set_xlabel(f"{capitalized(measure(view.bound))}\n({view.attack_title(view.attack)})")
    axes.set_ylabel(view.utility.heading)
    _percents(axes)
    return figure


def _has_its_group(variants: Mapping[Variant, object], variant: Variant) -> bool:
    """Whether a variant comes after another of its group."""
    return next(one for one in variants if one.group == variant.group) != variant


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
    odds = _log_odds(accuracy)
    steps = np.linspace(odds[0], odds[-1], 100)
    return np.interp(steps, odds, leakage), 1 / (1 + np.exp(-steps))


def classes(view: View, label: str, rates: Mapping[str, Mapping[Variant, Rate]], name: str = "") -> Figure:
    """One metric by class, a marker for each of a few variants.

    Args:
        view: what the audit found.
        label: of the metric's axis.
        rates: by class and variant.
        name: of the metric in the title, where that is shorter.
    """
    variants = list(dict.fromkeys(variant for each in rates.values() for variant in each))
    handles = [handle(view.label(v), view.looks[v.group], place) for place, v in enumerate(variants)]
    title = findings.by_class(name or label, rates)
    figure, axes = canvas(title, _ROW * (len(rates) + 0.2), handles)
    for row, each in enumerate(rates.values()):
        for place, variant in enumerate(variants):
            if variant not in each:
                continue
            y = row + 0.3 * (place - (len(variants) - 1) / 2)
            colour = view.looks[variant.group].colour
            axes.plot(_ends(each[variant]), [y, y], color=colour, linewidth=1.5, alpha=0.75)
            dot = handle("", view.looks[variant.group], place)
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
    return figure


def changes(view: View, found: Mapping[str, Mapping[Variant, Change]]) -> Figure:
    """Change of leakage from full precision, by attacker and variant, paired over targets, with its interval."""
    shades = {
        attacker: {variant: _change_rate(one) for variant, one in each.items()} for attacker, each in found.items()
    }
    figure, axes = _dots(view, findings.changes(view), shades, bottom=_TWO_LINES)
    axes.axvline(0, color=INK, linewidth=0.7, alpha=0.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda points, _: f"{100 * points:.4g}".replace("-", "−")))
    axes.set_xlabel(f"Change of {measure(view.bound)}\nin percentage points; left leaks less")
    return figure


def _change_rate(change: Change) -> Rate:
    """A change with its interval; a single target's own."""
    one = change.each[0] if len(change.each) == 1 else change
    return Rate(one.value, one.low, one.high)


def useful(view: View, rows: Rows = None, over: str = "") -> Figure:
    """Test accuracy, or R², by method and bits (the paper's Fig. 2)."""
    rates = _utility(view)
    reference = rates.get(view.results.full_precision) if view.results.full_precision else None
    line = Line2D([], [], color=INK, linewidth=0.7, alpha=0.5, label="full precision")
    figure, axes = _dots(view, findings.utility(view), {"": rates}, rows, over, [line] if reference else [])
    if view.utility is R_SQUARED:
        _r_squared(axes.xaxis, axes.set_xscale, list(rates.values()))
    if reference:
        axes.axvline(reference.value, color=INK, linewidth=0.7, alpha=0.5)
    axes.set_xlabel("R² (1 is perfect, 0 the mean label)" if view.utility is R_SQUARED else "Right on the test set")
    return figure


def last_layer(view: View, title: str, pairs: Mapping[Variant, tuple[Rate, Rate]], *, leaks: bool = False) -> Figure:
    """Utility or leakage with a last layer at a precision of its own, and without (the paper's Fig. 4).

    Args:
        view: what the audit found.
        title: of the figure.
        pairs: by variant with a last layer of its own, the rate of its twin without and its own.
        leaks: whether these are rates of leakage.
    """
    shades = {
        name: {v: pair[place] for v, pair in pairs.items()}
        for place, name in enumerate(("same bits in all layers", "last layer apart"))
    }
    if leaks:
        return _rates(view, title, shades)
    figure, axes = _dots(view, title, shades)
    if view.utility is R_SQUARED:
        _r_squared(axes.xaxis, axes.set_xscale, [rate for pair in pairs.values() for rate in pair])
    axes.set_xlabel(view.utility.heading)
    return figure


def roc(view: View, precision: float, curves: Mapping[Variant, Curve]) -> Figure:
    """ROC curves at one precision beside full precision, both axes in log scale."""
    figure, axes = canvas(findings.curves(view, precision, list(curves)), 190.0)
    least = min(float(curve.fpr[0]) for curve in curves.values())
    for variant, curve in curves.items():
        colour = view.looks[variant.group].colour
        low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
        axes.fill_between(curve.fpr, low.clip(least / 10), high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(
            curve.fpr, curve.mean.clip(least / 10), color=colour, label=_curve_name(view, variant), lw=1.3,
            linestyle="-" if variant.uniform else ":",
        )  # fmt: skip
    axes.plot([least, 1], [least, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="Random guessing")
    if view.bound is not None:
        axes.axvline(view.bound, color=MUTED, linewidth=0.5)
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.05))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")
    axes.legend(loc="lower right", fontsize=_SMALL, frameon=True, facecolor=CARD, edgecolor="none", framealpha=0.9)
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
    return {variant: found[variant] for variant in view.shown if variant in found}


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


def _dots(
    view: View,
    title: str,
    shades: Mapping[str, Mapping[Variant, Rate]],
    rows: Rows = None,
    over: str = "",
    handles: Sequence[Line2D] = (),
    bottom: float = _ONE_LINE,
) -> tuple[Figure, Axes]:
    """A row for each variant that does more than guess and in it a dot for each shade, hollow, filled, half filled."""
    found = {name: {v: rate for v, rate in each.items() if v in view.shown} for name, each in shades.items()}
    found = {name: each for name, each in found.items() if each}
    rows = rows or [variant for variant in view.results.variants if any(variant in each for each in found.values())]
    names = {variant: _row_name(view, variant) for variant in rows}
    heights = _heights(names)
    if len(found) > 1:
        handles = [handle(name, Look(MUTED, "o"), shade) for shade, name in enumerate(found)]
    inner = _ROW * (heights[rows[-1]] + 1.6)
    figure, axes = canvas(title, inner, handles, left=_NAMES + 6.0, bottom=bottom, over=over)
    for variant, height in heights.items():
        own = [name for name, each in found.items() if variant in each]
        for place, name in enumerate(own):
            style, rate, y = (
                view.looks[variant.group],
                found[name][variant],
                height + 0.3 * (place - (len(own) - 1) / 2),
            )
            axes.plot(_ends(rate), [y, y], color=style.colour, linewidth=1.6, alpha=0.75)
            dot = handle(name, style, list(found).index(name) if len(found) > 1 else 1)
            dot.set(data=([rate.value], [y]), clip_on=False)  # whole at the axis, too
            axes.add_line(dot)
        if not own:
            _say_why_empty(view, axes, variant, height)
    axes.set_ylim(heights[rows[-1]] + 0.8, -0.8)
    axes.set_yticks(list(heights.values()), list(names.values()))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    _percents(axes, axes.xaxis)
    return figure, axes


def _say_why_empty(view: View, axes: Axes, variant: Variant, height: float) -> None:
    """In a row that another study has filled."""
    why = "only guesses" if variant in view.guessing else "not measured"
    axes.annotate(
        why, (0.5, height), xycoords=axes.get_yaxis_transform(), ha="center", va="center", color=MUTED, fontsize=_SMALL,
    )  # fmt: skip


def _row_name(view: View, variant: Variant) -> str:
    """A variant's name in a narrow column, where its recipe in full precision stands above it."""
    name = view.titles.group(variant)
    if variant.quantized:
        name = f"{view.titles.method(variant.method)}\xa0{_precision(variant).removesuffix('bits').rstrip()}"
        name = f"with {name}" if view.titles.recipe(variant.recipe) else name
    return wrapped(name, _NAMES, _TEXT)


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
    return bits(variant) if variant.uniform else f"{variant.bits:g}{exceptions(variant).replace(' layer ', chr(0xA0))}"


def _heights(names: Mapping[Variant, str]) -> dict[Variant, float]:
    """Rows from the top, with a gap between methods and recipes, and room for a name of two lines."""
    heights: dict[Variant, float] = {}
    height, group = -1.0, next(iter(names)).group
    for variant, name in names.items():
        height += (1.0 if variant.group == group else 1.5) + 0.3 * name.count("\n")
        heights[variant], group = height, variant.group
    return heights


def canvas(
    title: str,
    inner: float,
    handles: Sequence[Line2D] = (),
    *,
    left: float = 48.0,
    bottom: float = _ONE_LINE,
    over: str = "",
) -> tuple[Figure, Axes]:
    """A figure of a column's width: title, key and one pair of axes.

    Args:
        title: what the figure shows.
        inner: height of the axes.
        handles: of the key.
        left: of the axes, for what stands beside them.
        bottom: of the axes, for what stands below them.
        over: what stands above the title.
    """
    title = wrapped(title, _WIDTH - 2 * _EDGE, _TITLE, "bold")
    columns, lines = _fit_key(handles)
    heads = (_TITLE_LINE if over else 0.0) + _TITLE_LINE * len(title.splitlines())
    top = _EDGE + heads + 18.0 + _KEY_LINE * lines  # the last line is for random guessing
    height, right = top + inner + bottom, 14.0
    figure = Figure(figsize=(_WIDTH / _POINTS, height / _POINTS))
    axes = figure.add_axes((left / _WIDTH, bottom / height, (_WIDTH - left - right) / _WIDTH, inner / height))
    start = _EDGE + (_TITLE_LINE if over else 0.0)
    figure.text(
        _EDGE / _WIDTH, 1 - start / height, title, va="top", fontsize=_TITLE, fontweight="bold", color=INK,
        linespacing=_TITLE_LINE / _TITLE / 1.164,  # DejaVu's lines are 1.164 of its size high
    )  # fmt: skip
    if over:
        figure.text(_EDGE / _WIDTH, 1 - _EDGE / height, over, va="top", fontsize=_SMALL, color=MUTED)
    if handles:
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - (_EDGE + heads + 3) / height), ncols=columns,
            fontsize=_SMALL, handlelength=1.2, handletextpad=0.3, columnspacing=1.0, borderaxespad=0,
            labelspacing=_KEY_LINE / _SMALL - 1.164,
        )  # fmt: skip
    return figure, axes


def _fit_key(handles: Sequence[Line2D]) -> tuple[int, int]:
    """How many columns of a key fit beside each other, and its lines; long names of many are broken for two columns."""
    names = [str(each.get_label()) for each in handles]
    for columns in range(min(_COLUMNS, len(names)), 1, -1):
        if sum(max(text_width(name, _SMALL) for name in part) + _HANDLE for part in _parts(names, columns)) < _WIDTH:
            return columns, ceil(len(names) / columns)
    if len(names) < _COLUMNS:
        return 1, len(names)
    for each, name in zip(handles, names, strict=True):
        each.set_label(wrapped(name, _WIDTH / 2 - _HANDLE, _SMALL))
    broken = [str(each.get_label()) for each in handles]
    return 2, max(len("\n".join(part).splitlines()) for part in _parts(broken, 2))


def _parts(names: Sequence[str], columns: int) -> list[list[str]]:
    """Names run down the columns, of which the first are the longer ones."""
    return [[names[place] for place in part] for part in np.array_split(np.arange(len(names)), columns)]


def _percents(axes: Axes, *which: object) -> None:
    """Ticks in percent, few enough to read on a phone."""
    for axis in which or (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # type: ignore[attr-defined]
        axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %"))  # type: ignore[attr-defined]


def _chance(axes: Axes, rate: float) -> None:
    """Draw and name the line where random guessing lies."""
    axes.axvline(rate, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.8)
    axes.annotate(
        "random guessing", (rate, 1), (0, 2), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        ha="center", color=MUTED, fontsize=_SMALL,
    )  # fmt: skip


def handle(name: str, look: Look, shade: int = 1) -> Line2D:
    """A marker: hollow, filled or half filled."""
    face = CARD if shade == 0 else look.colour
    return Line2D(
        [], [], color=look.colour, marker=look.marker, linestyle="", markersize=4.8, markeredgewidth=1.0,
        markerfacecolor=face, markerfacecoloralt=CARD, fillstyle="left" if shade > 1 else "full", label=name,
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
