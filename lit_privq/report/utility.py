"""What models are good for, in words: accuracy where they tell classes apart, R² where they predict values."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.report.words import NUMBER, PERCENT, POINTS, Step


@dataclass(frozen=True)
class Utility:
    """A measure of how good a model is, larger is better.

    Args:
        metric: its name in results.csv.
        name: in a sentence.
        heading: of its figure and axis.
        does: what a model does, with a place for the number.
        unit: behind a number.
        step: how a difference is written.
    """

    metric: str
    name: str
    heading: str
    does: str
    unit: str
    step: Step

    def text(self, value: float) -> str:
        r"""A number with its unit.

        >>> ACCURACY.text(0.95), R_SQUARED.text(0.9)
        ('95.0\xa0%', '0.900')
        """
        return f"{self.step.size(value)}{self.unit}"

    def sentence(self, value: float) -> str:
        r"""What a model does.

        >>> ACCURACY.sentence(0.95), R_SQUARED.sentence(0.9)
        ('is right on 95.0\xa0% of the test set', 'has an R² of 0.900 on the test set')
        """
        return self.does.format(self.text(value))


ACCURACY = Utility("accuracy", "accuracy", "Test accuracy", "is right on {} of the test set", PERCENT, POINTS)
R_SQUARED = Utility("r2", "R²", "R² on the test set", "has an R² of {} on the test set", "", NUMBER)
