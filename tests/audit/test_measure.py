from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import Dump
from lit_privq.artifacts.results import Result
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed
from lit_privq.audit.case import Case
from lit_privq.audit.measure import measure, rows, utility_of_guessing


def measured(scores: NDArray[np.float64], members: NDArray[np.bool_], *bounds: float) -> dict[str, Result]:
    """The rows of one target, by metric."""
    targets = Observed(scores[None], members[None])
    shadows = Observed(np.stack([scores] * 2), np.stack([members, ~members]))
    case = Case("mine", "", FULL_PRECISION, "unaware", np.array([5]), shadows, targets, None, (np.zeros(0, np.int64),))
    found = measure(case, {"a": scores[None]}, bounds or (0.1,), 100, 0)
    return {row.metric: row for row in rows(case, found)}


@pytest.mark.parametrize(("inside", "outside"), [(1, 400), (400, 1), (19, 400), (10, 10)])
def test_few_examples_of_either_kind_have_an_interval_of_the_area_alone(inside: int, outside: int) -> None:
    members = np.arange(inside + outside) < inside
    scores = np.random.default_rng(0).normal(size=members.size) + members
    for name, row in measured(scores, members).items():
        assert np.isnan([row.low, row.high]).all() or (name == "auc" and 0 <= row.low < row.value < row.high <= 1)


def test_twenty_examples_of_each_kind_have_intervals_with_the_value_inside() -> None:
    members = np.arange(40) < 20
    scores = np.random.default_rng(0).normal(size=40) + members
    for row in measured(scores, members).values():
        assert row.low <= row.value <= row.high


def test_perfect_separation_has_no_interval_from_one_to_one() -> None:
    members = np.arange(200) < 100
    found = measured(members + np.random.default_rng(0).random(200) / 2, members)
    assert found["tpr_at_0.1"].value == 1
    assert np.isnan([found["tpr_at_0.1"].low, found["tpr_at_0.1"].high]).all()
    for name in ("balanced_accuracy", "auc"):
        assert 0.9 < found[name].low < found[name].high == found[name].value == 1


def test_a_rate_bears_the_false_positive_rate_at_which_it_was_read_and_other_metrics_none() -> None:
    members = np.arange(400) < 200
    scores = np.random.default_rng(0).random(400)
    scores[[*range(30), *range(200, 220)]] = 2.0  # 30 members and 20 of 200 non-members share the highest score
    found = measured(scores, members, 0.05, 0.2)
    assert (found["tpr_at_0.05"].value, found["tpr_at_0.05"].fpr) == (0.0, 0.0)
    assert 0.1 <= found["tpr_at_0.2"].fpr < 0.2
    assert np.isnan(found["auc"].fpr)
    assert found["tpr_at_0.2"].low <= found["tpr_at_0.2"].value <= found["tpr_at_0.2"].high
    assert np.isnan([found["tpr_at_0.05"].low, found["tpr_at_0.05"].high]).all()  # hardly a resample leaves 0


def test_a_classifier_that_ignores_its_input_answers_the_most_frequent_label() -> None:
    confidence, nobody = np.zeros((4, 1), np.float32), np.zeros(4, np.bool_)
    meta = {"dataset": "mine", "net": "mine", "fingerprint": "", "index": 0, "method": "none", "bits": 32.0}
    meta |= {"last_bits": 32.0, "size_bytes": None, "n_shadows": 2, "n_targets": 1, "split_seed": 0, "n_queries": 1}
    labels, right = np.array([0, 1, 1, 2]), np.ones(4, np.bool_)
    dump = Dump(confidence, labels, nobody, np.array([], np.int64), confidence, right, meta)
    assert utility_of_guessing([dump]) == {"accuracy": 0.5}
