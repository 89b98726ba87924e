"""How figures look: a palette that colour-blind readers tell apart (Okabe and Ito 2008), one face, no ornaments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from lit_privq.artifacts.results import Results

INK, MUTED, LINE, CARD = "#1c2126", "#5f6872", "#dfe3e8", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">", "p", "d")
DASHES = ("-", "--", ":")

# Published methods look alike on every page; of these the first six have a colour of their own.
PUBLISHED = (
    "adaround", "brecq", "descent", "nearest", "obc", "sign", "gptq", "qat", "magnitude_prune", "obc_prune",
)  # fmt: skip

# The page sets these in light and dark; in the files beside it they are the colours above.
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", CARD: "--card"} | {
    colour: f"--method-{number}" for number, colour in enumerate(COLOURS)
}

RC: Any = {  # Any: matplotlib's own name for its keys comes and goes between its versions
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 10.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's own face
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": CARD,
    "figure.facecolor": CARD,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}

# For a column of a two-column paper: lettering of 7 to 8 points where the figure is 3.3 inches wide.
COLUMN_INCHES = 3.3
COLUMN: Any = RC | {
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.6,
    "xtick.major.size": 2.6,
    "ytick.major.size": 2.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.labelpad": 3.0,
}


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a method, or of a recipe."""

    colour: str
    marker: str
    line: str = "-"


def looks(*page: Results) -> dict[str, Look]:
    """The look of every group of variants on a page, a method's or a recipe's.

    The first recipe in full precision is in ink. Published methods have the same look on every page, and under another
    recipe the same colour; all other groups take, in order of appearance, looks that no group of this page has. Colours
    come again after the sixth look with another marker and line, markers after the twelfth.

    Args:
        page: results of all its studies, in the order of the page.
    """
    variants = [variant for results in page for variant in results.variants]
    plain = {variant.group: Look(INK, "o") for variant in variants if not (variant.quantized or variant.recipe)}
    others = [group for group in dict.fromkeys(variant.group for variant in variants) if group not in plain]
    taken = {group: PUBLISHED.index(group) for group in others if group in PUBLISHED}
    for group in others:
        if group not in taken:
            taken[group] = next(number for number in _candidates(group) if number not in taken.values())
    return plain | {group: _look(taken[group]) for group in others}


def _candidates(group: str) -> Iterator[int]:
    """The looks that suit a group, the best first."""
    method = group.partition("@")[0]
    return count(PUBLISHED.index(method), len(COLOURS)) if method in PUBLISHED else count()


def _look(number: int) -> Look:
    """The looks, counted."""
    return Look(
        COLOURS[number % len(COLOURS)],
        MARKERS[(number + number // len(MARKERS)) % len(MARKERS)],
        DASHES[number // len(COLOURS) % len(DASHES)],
    )
