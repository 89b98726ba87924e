from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lit_privq.attacks import Observed, Threshold, score_held_out

Make = Callable[..., Observed]


def test_the_score_is_the_confidence_averaged_over_queries_whatever_the_shadows_say(make: Make) -> None:
    models = make(8, 40, 3, spare=2)
    targets = models.models([8, 9])
    for shadows in (models.models(range(8)), make(8, 40, 3, seed=1)):
        scores = score_held_out({"a": Threshold()}, shadows, targets)["a"]
        np.testing.assert_allclose(scores, np.float64(targets.confidence).mean(-1), rtol=1e-12)
