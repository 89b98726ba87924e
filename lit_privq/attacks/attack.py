"""The interface of a membership inference attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array


class Attack(ABC):
    """A membership inference attack: a frozen dataclass that turns evidence into scores.

    A new attack is one file and its class path in an audit's config. ``score`` sees a block of examples; ``finish``,
    which few attacks need, sees the scores of all examples at once.
    """

    needs_classes: ClassVar[bool] = False  # whether confidences must be log-odds of a probability
    needs_labels: ClassVar[bool] = False  # whether it must know the classes of the examples

    @property
    def min_shadows(self) -> int:
        """Least number of shadows in each of an example's two groups."""
        return 1

    @property
    def title(self) -> str:
        """Name for tables and figures, with the options that tell it from others of its class."""
        return type(self).__name__

    @abstractmethod
    def score(self, evidence: Evidence) -> Array:
        """Scores of a block, (targets, examples); larger means more likely a member."""

    def finish(self, scores: Array) -> Array:
        """Scores of all examples, (targets, examples), from those of the blocks."""
        return scores
