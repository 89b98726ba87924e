from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lit_privq.attacks import (
    Observed,
    RMIAOnline,
    population_share,
    score_leave_one_out,
)

Make = Callable[..., Observed]


def test_the_population_share_counts_pairs() -> None:
    random = np.random.default_rng(0)
    x, z = random.normal(size=40), random.normal(size=30)
    for gamma in (0.5, 1.0, 2.0):
        pairs = np.exp(x)[:, None] / np.exp(z) > gamma
        np.testing.assert_allclose(population_share(x, z, gamma=gamma), pairs.mean(axis=1))
    own = population_share(x, x, gamma=0.5, own=np.ones(40, bool))
    np.testing.assert_allclose(own, [(np.exp(x[i]) / np.exp(np.delete(x, i)) > 0.5).mean() for i in range(40)])


def test_rmia_uses_temperature_two_where_logits_are_stored() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(7, 20, 1, 3)).astype(np.float32)
    labels = random.integers(3, size=20)
    members = np.argsort(random.random((7, 20)), axis=0) < 3
    chosen = np.take_along_axis(
        np.exp(logits / 2) / np.exp(logits / 2).sum(-1, keepdims=True), labels[None, :, None, None], -1
    )
    warm = np.log(chosen[..., 0]) - np.log1p(-chosen[..., 0])
    cold = Observed(warm, members, logits, labels)
    scores = score_leave_one_out({"auto": RMIAOnline(), "one": RMIAOnline(temperature=1.0)}, cold)
    np.testing.assert_allclose(scores["auto"], scores["one"])  # the confidences above are those at temperature 2


def test_rmia_refuses_another_temperature_without_logits(make: Make) -> None:
    with pytest.raises(ValueError, match=r"temperature 2\.0 needs logits"):
        score_leave_one_out({"a": RMIAOnline(temperature=2.0)}, make())
