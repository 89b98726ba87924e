from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import logit_confidence


def test_confidence_is_the_log_odds_of_the_true_class() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3, 7))
    labels = np.arange(50) % 7
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true = np.take_along_axis(p, labels[:, None, None], -1)[..., 0]
    np.testing.assert_allclose(logit_confidence(logits, labels), np.log(true / (1 - true)))


def test_confidence_still_ranks_examples_that_softmax_rounds_to_one() -> None:
    logits = np.array([[40.0, 0.0], [80.0, 0.0]], np.float32)
    assert logit_confidence(logits, np.array([0, 0])).tolist() == [40.0, 80.0]


def test_confidence_of_huge_logits_is_finite() -> None:
    logits = np.array([[1e30, -1e30, 0.0], [-1e30, 1e30, 0.0]], np.float32)
    assert np.isfinite(logit_confidence(logits, np.array([0, 0]))).all()


def test_blocks_change_nothing() -> None:
    logits = np.random.default_rng(1).normal(size=(5000, 2, 9)).astype(np.float32)
    labels = np.arange(5000) % 9
    whole = logit_confidence(logits, labels)
    np.testing.assert_array_equal(whole[4000:], logit_confidence(logits[4000:], labels[4000:]))
    assert whole.dtype == np.float32


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[4.0, 0.0]])
    assert logit_confidence(logits, np.array([0]), temperature=2.0)[0] == 2.0


def test_input_is_left_alone() -> None:
    logits = np.zeros((3, 4))
    logit_confidence(logits, np.zeros(3, int))
    assert not logits.any()
    assert math.isclose(float(logit_confidence(logits, np.zeros(3, int))[0]), -math.log(3))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3), np.float16), np.zeros(2, int), "got float16"),
        (np.zeros((2, 3)), np.array([0, 3]), r"labels must lie in \[0, 3\); 1 do not, the first is 3 at example 1"),
        (np.zeros((2, 3)), np.zeros(3, int), r"labels must be \(2,\)"),
        (np.zeros((2, 1)), np.zeros(2, int), "at least two classes"),
    ],
)
def test_bad_logits_are_refused(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        logit_confidence(logits, labels)


@pytest.mark.parametrize("labels", [np.zeros(3), np.array(["a", "b", "c"]), np.zeros(3, bool)])
def test_labels_that_are_no_integers_are_refused(labels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="labels must be integers, the indices of classes; got"):
        logit_confidence(np.zeros((3, 2)), labels)


@pytest.mark.parametrize("kind", [">f4", ">f8"])
def test_the_order_of_bytes_changes_nothing(kind: str) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(kind.replace(">", "<"))
    labels = np.array([0, 1, 2, 0, 1])
    found = logit_confidence(logits.astype(kind), labels)
    np.testing.assert_array_equal(found, logit_confidence(logits, labels))
    assert found.dtype.isnative
