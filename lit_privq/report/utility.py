"""What models are good for, in words: accuracy where they tell classes apart, R² where they predict values."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from lit_privq.artifacts.results import Results
from lit_privq.report import words
from lit_privq.report.spread import Spread


@dataclass(frozen=True)
class Utility:
    """A measure of how good a model is, larger is better.

    Args:
        metric: its name in results.csv.
        name: in a sentence.
        heading: of its figure and axis.
        does: what a model does, with a place for the number.
        scale: from the file's numbers to those that are written.
        digits: after the point.
        unit: behind a number.
        step: behind a difference.
    """

    metric: str
    name: str
    heading: str
    does: str
    scale: float
    digits: int
    unit: str
    step: str

    def amount(self, value: float) -> str:
        """A number without its unit."""
        return f"{self.scale * value:.{self.digits}f}"

    def text(self, value: Spread) -> str:
        r"""Mean and standard deviation over targets.

        >>> ACCURACY.text(Spread(0.95, 0.01, 4)), R_SQUARED.text(Spread(0.9, 0.0125, 4))
        ('95.0 ± 1.0\xa0%', '0.900 ± 0.013')
        """
        if not isfinite(value.mean):
            return "–"
        deviation = f" ± {self.amount(value.deviation)}" if isfinite(value.deviation) else ""
        return f"{self.amount(value.mean)}{deviation}{self.unit}"

    def sentence(self, value: Spread) -> str:
        r"""What a model does.

        >>> ACCURACY.sentence(Spread(0.95, 0.01, 4)), R_SQUARED.sentence(Spread(0.9, 0.01, 4))
        ('is right on 95.0\xa0% of the test set', 'has an R² of 0.900 on the test set')
        """
        return self.does.format(f"{self.amount(value.mean)}{self.unit}")

    def change(self, value: Spread | None) -> str:
        r"""A paired difference, and whether it is one.

        >>> R_SQUARED.change(Spread(-0.021, 0.004, 4)), R_SQUARED.change(Spread(0.002, 0.004, 4))
        ('−0.021\xa0±\xa00.004', 'within its spread (+0.002\xa0±\xa00.004)')
        """
        return words.change(value, self.digits, self.scale, self.step)


ACCURACY = Utility(
    "accuracy",
    "accuracy",
    "Test accuracy",
    "is right on {} of the test set",
    100.0,
    1,
    "\N{NO-BREAK SPACE}%",
    " points",
)
R_SQUARED = Utility("r2", "R²", "R² on the test set", "has an R² of {} on the test set", 1.0, 3, "", "")


def utility(results: Results) -> Utility:
    """What these results measure: R² where there is any, accuracy otherwise."""
    return R_SQUARED if R_SQUARED.metric in results.metrics else ACCURACY
