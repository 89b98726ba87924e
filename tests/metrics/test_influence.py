from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from lit_privq.metrics import auc, best_balanced_accuracy, tpr_at_fpr
from lit_privq.metrics.auc_interval import delong_variance
from lit_privq.metrics.influence import Influence, auc_influence, balanced_accuracy_influence, tpr_influence
from lit_privq.metrics.roc import Ranked, Roc, ranked

METRICS = {
    "auc": (auc, auc_influence),
    "balanced_accuracy": (best_balanced_accuracy, balanced_accuracy_influence),
    "tpr_at_0.05": (partial(tpr_at_fpr, max_fpr=0.05), partial(tpr_influence, max_fpr=0.05)),
    "tpr_at_0.01": (partial(tpr_at_fpr, max_fpr=0.01), partial(tpr_influence, max_fpr=0.01)),
}
MEMBERS = np.arange(2000) < 1000


@pytest.mark.parametrize(("metric", "influence"), METRICS.values(), ids=METRICS)
def test_the_deviation_is_that_of_the_number_on_other_examples(
    metric: Callable[[Roc], float], influence: Callable[[Ranked], Influence]
) -> None:
    rng = np.random.default_rng(0)
    found = [ranked(rng.normal(size=2000) + 1.2 * MEMBERS, MEMBERS) for _ in range(600)]
    seen = np.std([metric(one.curve) for one in found])
    said = np.sqrt(np.mean([influence(one).deviation ** 2 for one in found]))
    assert said == pytest.approx(seen, rel=0.12)  # standard error of 600 trials 3 %; a slope from ten scores the rest


@pytest.mark.parametrize(("metric", "influence"), METRICS.values(), ids=METRICS)
def test_the_deviation_of_a_difference_is_paired(
    metric: Callable[[Roc], float], influence: Callable[[Ranked], Influence]
) -> None:
    rng = np.random.default_rng(1)
    changes, said = [], []
    for _ in range(600):
        shared, one, other = rng.normal(size=(3, 2000))
        first = ranked(shared + 0.3 * one + 1.2 * MEMBERS, MEMBERS)
        second = ranked(shared + 0.3 * other + 0.9 * MEMBERS, MEMBERS)
        changes.append(metric(first.curve) - metric(second.curve))
        said.append((influence(first) - influence(second)).deviation ** 2)
    # two best thresholds lie apart, which pairs them less than their accuracies are: 18 % too much was seen
    tolerance = 0.25 if metric is best_balanced_accuracy else 0.12
    assert np.sqrt(np.mean(said)) == pytest.approx(np.std(changes), rel=tolerance)


def test_the_influence_on_the_area_is_delongs() -> None:
    scores = np.random.default_rng(2).normal(size=2000).round(1) + MEMBERS  # with ties
    seen = ranked(scores, MEMBERS)
    assert auc_influence(seen).deviation ** 2 == pytest.approx(delong_variance(seen.curve), rel=1e-4)  # float32


def test_equal_attacks_differ_by_nothing() -> None:
    seen = ranked(np.random.default_rng(3).normal(size=2000), MEMBERS)
    for _, influence in METRICS.values():
        assert (influence(seen) - influence(seen)).deviation == 0


def test_a_single_member_shows_no_spread() -> None:
    seen = ranked(np.arange(5.0), np.arange(5) == 2)
    assert np.isnan(auc_influence(seen).deviation)
