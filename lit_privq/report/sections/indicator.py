"""The MIS indicator beside LiRA: a table, two figures, their correlation, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, isfinite, isnan, log10, nan

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from lit_privq.artifacts.variant import Variant
from lit_privq.indicator.runs import FULL_PRECISION
from lit_privq.indicator.shadows import ShadowRuns
from lit_privq.indicator.stability import spearman
from lit_privq.plot.labels import place_labels
from lit_privq.plot.style import MUTED, Look
from lit_privq.report.figures import Drawing, canvas, handle
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import PageCell, PageRow, PageTable
from lit_privq.report.view import View
from lit_privq.report.words import Step, capitalized, counted, decimals, joined, measure, percent, width

Array = NDArray[np.float64]

LEAST = 4
"""Fewest quantizers for a rank correlation: of three, one order in six is the right one by chance."""

_TWO_DIGITS = Step(1.0, 2, "")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class VariantDot:
    """A variant of a study.

    Args:
        across: what is known of its quantizer.
        up: what was found by attacks.
        method: as people write it.
        label: its precision.
        look: of the method.
    """

    across: float
    up: float
    method: str
    label: str
    look: Look


def section(view: View, inputs: Inputs) -> Section | None:
    """None where no model was measured by the indicator."""
    if inputs.indicator is None:
        return None
    beside = Beside(inputs.indicator, view)
    return Section("indicator", "The MIS indicator beside LiRA", {"beside": beside}, tuple(beside.figures()))


@dataclass(frozen=True)
class Beside:
    """Estimates of a study's models, beside what LiRA finds.

    Args:
        runs: of all models.
        view: the results, seen through the page's measure of leakage.
    """

    runs: ShadowRuns
    view: View

    @cached_property
    def rows(self) -> dict[Variant, int]:
        """The quantizer that stands for each variant whose leakage is known; none has a last layer of its own."""
        found = {
            variant: self.runs.counterpart(variant.method, variant.bits)
            for variant in self.view.results.variants
            if variant.uniform and not variant.recipe and not variant.repeat and self.view.leak(variant)
        }
        return {variant: row for variant, row in found.items() if row is not None}

    @property
    def r(self) -> Array:
        """Median over models, (Q,)."""
        return np.asarray(self.runs.r_quartiles[1])

    def leakage(self, variant: Variant) -> float:
        """To the strongest attacker, mean over targets."""
        found = self.view.leak(variant)
        return found.value if found else nan

    @property
    def lead(self) -> str:
        """What the section shows."""
        runs, view = self.runs, self.view
        return (
            "The indicator r ranks quantizers from ordinary training runs, without an attack: a higher r means more "
            f"private. Beside it stands the {measure(view.bound)} of {view.attack_title(view.attack)} (strongest "
            "attacker). "
            f"{counted(len(runs.models), 'model')} of n = {runs.n} members; the last {runs.snapshots} weights of each, "
            f"{counted(runs.meta['every'], 'step')} apart, on {runs.meta['examples']} examples of the test set. "
            "Medians over models, quartiles below r."
        )

    @property
    def table(self) -> PageTable:
        """A row for each quantizer, with the methods that it stands for."""
        methods = self.view.results.methods
        heads = (
            "Quantizer",
            "Bits",
            "Indicator r",
            "n r",
            "r_lse",
            "Bernstein bound",
            f"Codewords in {self.runs.snapshots} snapshots",
            "Models with one codeword only",
            "Code agreement",
            "R²" if self.runs.meta["metric"] == "r2" else capitalized(str(self.runs.meta["metric"])),
            *(f"LiRA on {self.view.titles.method(method)}" for method in methods),
        )
        return PageTable(heads, tuple(self._row(row, methods) for row in range(len(self.runs.quantizers))))

    def figures(self) -> Iterator[Drawing]:
        """Leakage against r and against code agreement."""
        up = capitalized(measure(self.view.bound))
        for name, what, values, scale in (
            ("mis_r", "indicator r", np.where(self.r > 0, self.r, np.nan), "log"),
            ("mis_agreement", "code agreement", self.runs.agreement, "linear"),
        ):
            dots = self._dots(values)
            if dots:
                across = f"{capitalized(what)}: to the right, more private"
                figure = draw_beside(self._title(what, values), across, up, dots, scale)
                yield Drawing(name, figure, f"Leakage of every variant against the {what} of its quantizer.")

    def _title(self, what: str, values: Array) -> str:
        """The rank correlation of one quantity, (Q,), with 1 - LiRA."""
        rows, kept = list(self.rows.values()), -np.array([self.leakage(variant) for variant in self.rows])
        if len(set(rows)) < LEAST or np.isnan(values[rows]).any():
            return f"Too few quantizers to compare LiRA with the {what}"
        return f"Rank correlation of {what} with 1\xa0−\xa0LiRA:\xa0{_signed(spearman(values[rows], kept))}"

    @property
    def verdict(self) -> str:
        """Spearman's correlation with 1 - LiRA, or that there are too few points for one."""
        rows = list(self.rows.values())
        over = f"{counted(len(rows), 'variant')} compared with {counted(len(set(rows)), 'quantizer')}"
        if len(set(rows)) < LEAST:
            found = over if rows else "no variant of the study has the bits of a quantizer"
            return f"No correlation with LiRA is given: {found}, and the order of fewer than {LEAST} says nothing."
        kept = -np.array([self.leakage(variant) for variant in self.rows])
        measured = {"r": self.r, "code agreement": self.runs.agreement}
        known = {name: values[rows] for name, values in measured.items() if not np.isnan(values).any()}
        shown = joined([f"{_signed(spearman(values, kept))} for {name}" for name, values in known.items()])
        shared = " Methods at the same bits share a quantizer, so fewer points than variants are independent."
        return (
            f"Spearman’s rank correlation with 1 − LiRA over {over}: {shown}. "
            "+1: the same order as LiRA; 0: no relation." + (shared if len(set(rows)) < len(rows) else "")
        )

    @property
    def sentences(self) -> list[str]:
        """How far to trust the numbers, besides the verdict."""
        return [*self._warnings(), *self._reading()]

    def _row(self, row: int, methods: Sequence[str]) -> PageRow:
        runs, name = self.runs, self.runs.quantizers[row]
        low, middle, high = runs.r_quartiles[:, row]
        agreement = runs.agreement[row]
        utility = runs.performance[row].mean()
        cells = (
            PageCell(f"{runs.bits[row]:g}"),
            PageCell(number(middle), f"{number(low)} to {number(high)}" if low < high else ""),
            PageCell(number(runs.n * middle)),
            PageCell(number(float(np.quantile(runs.r_lse[row], 0.5, method="nearest")))),
            PageCell(f"{np.median(runs.bernstein[row]):.2f}"),
            PageCell(f"{np.median(runs.distinct[row]):g}"),
            PageCell(percent(runs.censored[row], 0)),
            PageCell(f"{agreement:.3f}" if isfinite(agreement) else "–"),
            PageCell(f"{utility:.2f}" if runs.meta["metric"] == "r2" else percent(utility)),
            *(self._found(row, method) for method in methods),
        )
        return PageRow(quantizer_title(name), f"{runs.bits[row]:g}", cells)

    def _found(self, row: int, method: str) -> PageCell:
        """Leakage of the variant of a method that a quantizer stands for; full precision stands for all methods'."""
        own = [v for v, stands in self.rows.items() if stands == row and v.method in (method, "none", "")]
        return PageCell(percent(self.leakage(own[0]), decimals(self.view.bound)) if own else "–")

    def _dots(self, values: Array) -> list[VariantDot]:
        """Every variant whose quantizer has a finite value, (Q,)."""
        return [
            VariantDot(
                float(values[row]),
                self.leakage(variant),
                self.view.titles.method(variant.method),
                width(variant.bits) if variant.quantized else "32 bits",
                self.view.looks[variant.group],
            )
            for variant, row in self.rows.items()
            if isfinite(values[row])
        ]

    def _warnings(self) -> Iterator[str]:
        """Where the theory does not reach, and for which quantizers."""
        for reason, names in self.runs.cautions().items():
            everyone = len(names) == len(self.runs.quantizers)
            told = capitalized(reason).replace(" - ", " − ").replace("(-", "(−")
            yield f"{told} ({'all' if everyone else joined([quantizer_title(name) for name in names])})."

    def _reading(self) -> Iterator[str]:
        """How the rows are chosen, and where the quantities come from."""
        if np.isinf(self.r).any():
            yield "∞: at least half of the models show one codeword only, and there is no other to compare it with."
        yield (
            "A method is shown in the row of the quantizer that has its name, or else of the most accurate one with "
            "its bits; variants with other bits in the last layer are left out."
        )
        yield (
            "Bernstein bound: a lower bound on MIS at this n. 1 is safe, 0 says nothing. It is proven for a training "
            "that picks the best codeword, not for rounding after training."
        )
        yield (
            "r and the quantizers are those of arXiv:2502.06567. We had no text of its algorithm: that the codewords "
            "of the last snapshots are compared, with the scale of the last one, is our reconstruction. r_lse, code "
            "agreement and the warnings are our additions (docs/indicator.md)."
        )


def quantizer_title(name: str) -> str:
    """A quantizer's name as people write it.

    >>> [quantizer_title(name) for name in ("full", "ternary-90", "sign")]
    ['Full precision', 'Ternary 90', 'Sign']
    """
    return "Full precision" if name == FULL_PRECISION else capitalized(name.replace("-", " "))


def _signed(correlation: float) -> str:
    """A correlation; there is none where all leak alike."""
    return "undefined" if isnan(correlation) else _TWO_DIGITS.signed(correlation)


def number(value: float) -> str:
    """Two digits, with a power of ten where it is far from one.

    >>> number(0.0123), number(123.4), number(1.26e-5), number(float("inf"))
    ('0.012', '123', '1.3 · 10⁻⁵', '∞')
    """
    if not isfinite(value):
        return "∞" if value > 0 else "–"
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return (f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}").replace("-", "−")
    power = floor(log10(abs(value)))
    return f"{value / 10**power:.1f}".replace("-", "−") + f" · 10{str(power).translate(_SUPERSCRIPTS)}"


def draw_beside(title: str, across: str, up: str, dots: Sequence[VariantDot], scale: str = "linear") -> Figure:
    """Leakage of a study's variants against what should foretell it, the precision named above each column of dots.

    Args:
        title: of the figure.
        across: what is known of the quantizer.
        up: what was found by attacks, a rate.
        dots: one for each variant.
        scale: of the horizontal axis.
    """
    looks = {dot.method: dot.look for dot in dots}
    figure, axes = canvas(title, 150.0, [handle(method, look) for method, look in looks.items()])
    for dot in dots:
        axes.plot(dot.across, dot.up, color=dot.look.colour, marker=dot.look.marker, linestyle="none", markersize=5)
    axes.set(xscale=scale, xlabel=across, ylabel=up)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %"))
    axes.margins(x=0.12, y=0.16)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # final: a line to a label must not move them
    highest = {dot.across: dot for dot in sorted(dots, key=lambda dot: dot.up)}
    labels = [(dot.across, dot.up, dot.label, MUTED) for dot in highest.values()]
    others = [(dot.across, dot.up, dot.across, dot.up) for dot in dots]
    place_labels(axes, labels, np.array(others), fontsize=7.0)
    return figure
