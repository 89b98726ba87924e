from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import Observed

Make = Callable[..., Observed]


def balanced(models: int, examples: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Each example trains exactly half of the models, (models, examples)."""
    return np.asarray(np.argsort(random.random((models, examples)), axis=0) < models // 2)


@pytest.fixture
def make() -> Make:
    """Confidences of models on examples of different hardness; ``gap`` is what training on an example adds."""

    def observed(
        models: int = 8, examples: int = 60, queries: int = 2, *, gap: float = 1.0, seed: int = 0, spare: int = 0
    ) -> Observed:
        random = np.random.default_rng(seed)
        members = np.vstack([balanced(models, examples, random), random.random((spare, examples)) < 0.5])
        hardness = 2 * random.normal(size=(1, examples, queries))
        noise = random.normal(size=(models + spare, examples, queries))
        confidence = (hardness + gap * members[..., None] + noise).astype(np.float32)
        return Observed(confidence, members, labels=np.arange(examples) % 3)

    return observed
