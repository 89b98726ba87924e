"""What every attack is: a frozen dataclass that turns evidence into scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array


class Attack(ABC):
    """A membership inference attack; a new one is one file and a class path.

    ``score`` sees a block of examples. ``finish``, seldom needed, sees the scores of all of them at once.
    """

    needs_classes: ClassVar[bool] = False  # whether confidences must be log-odds of a probability

    @property
    def min_shadows(self) -> int:
        """Least number of shadows in each of an example's two groups."""
        return 1

    @abstractmethod
    def score(self, evidence: Evidence) -> Array:
        """Scores of a block, (targets, examples); larger means more likely a member."""

    def finish(self, scores: Array) -> Array:
        """Scores of all examples, (targets, examples), from those of the blocks."""
        return scores
