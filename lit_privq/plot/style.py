"""How figures look: a palette that colour-blind readers tell apart (Okabe and Ito 2008), one face, no ornaments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lit_privq.artifacts.results import Results

INK, MUTED, LINE, CARD = "#1c2126", "#5f6872", "#dfe3e8", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">", "p", "d")
DASHES = ("-", "--", ":")

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


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a method, or of a recipe."""

    colour: str
    marker: str
    line: str = "-"


def looks(results: Results) -> dict[str, Look]:
    """The look of every group of variants, a method's or a recipe's; the first recipe in full precision is in ink.

    Colours come again after the sixth group with another marker and line, markers after the twelfth.
    """
    plain = {variant.group: Look(INK, "o") for variant in results.variants if not (variant.quantized or variant.recipe)}
    others = (group for group in dict.fromkeys(variant.group for variant in results.variants) if group not in plain)
    return plain | {
        group: Look(
            COLOURS[number % len(COLOURS)],
            MARKERS[(number + number // len(MARKERS)) % len(MARKERS)],
            DASHES[number // len(COLOURS) % len(DASHES)],
        )
        for number, group in enumerate(others)
    }
