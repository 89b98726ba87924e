"""Situations: inputs that give themselves away and the sentence that each must get; honest inputs, which get none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import Observed, logit_confidence
from lit_privq.audit.plausible import contradiction, doubts, finite_population

Arrays = dict[str, Any]


def half(models: int, examples: int, seed: int = 0) -> NDArray[np.bool_]:
    """Each example in exactly half of the models, (models, examples)."""
    return np.asarray(np.argsort(np.random.default_rng(seed).random((models, examples)), axis=0) < models // 2)


def confident(queries: int = 1, gap: float = 1.0) -> Arrays:
    members = half(14, 400)
    random = np.random.default_rng(1)
    level = random.normal(2, 2, (400, 1))
    return {"members": members, "confidence": level + gap * members[..., None] + random.normal(size=(14, 400, queries))}


def classified(classes: int = 10, queries: int = 1) -> Arrays:
    members = half(14, 400)
    random = np.random.default_rng(1)
    labels = random.integers(classes, size=400)
    logits = random.normal(size=(14, 400, queries, classes))
    logits[:, np.arange(400), :, labels] += 2 + 2.5 * members.T[..., None]
    confidence = np.stack([logit_confidence(one, labels) for one in logits])
    return {"members": members, "confidence": confidence, "logits": logits, "labels": labels}


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def relabelled(given: Arrays, labels: NDArray[np.int64]) -> Arrays:
    return {**given, "labels": labels, "confidence": np.stack([logit_confidence(x, labels) for x in given["logits"]])}


def absurd(given: Arrays, value: float) -> Arrays:
    confidence = given["confidence"].copy()
    confidence[3, 7, 0] = value
    return {**given, "confidence": confidence}


def transposed(given: Arrays) -> Arrays:
    return {"members": given["members"].T, "confidence": np.swapaxes(given["confidence"], 0, 1)}


SITUATIONS: dict[str, tuple[Callable[[], Arrays], str]] = {
    "labels shifted by one": (
        lambda: relabelled(c := classified(), (c["labels"] + 1) % 10),
        "of the labels right, hardly more than random guessing among 10 classes",
    ),
    "labels in another order": (
        lambda: relabelled(c := classified(), np.random.default_rng(5).permutation(c["labels"])),
        "hardly more than random guessing",
    ),
    "the other one of two labels": (lambda: relabelled(c := classified(2), 1 - c["labels"]), "among 2 classes"),
    "softmax as logits": (
        lambda: {**(c := classified()), "logits": softmax(c["logits"])},
        "logits lie in [0, 1] and sum to 1, as probabilities after a softmax do",
    ),
    "probabilities as confidence": (
        lambda: {**(c := confident()), "confidence": 1 / (1 + np.exp(-c["confidence"]))},
        "all confidences lie in [0, 1] as probabilities do",
    ),
    "softmax of classes as confidence": (
        lambda: {"members": (c := classified())["members"], "confidence": softmax(c["logits"])[:, :, 0]},
        "probabilities that sum to 1, as those of classes do",
    ),
    "logits of classes as confidence": (
        lambda: {"members": (c := classified())["members"], "confidence": c["logits"][:, :, 0]},
        "vary against each other, as logits of classes do",
    ),
    "a loss as confidence": (
        lambda: {**(c := confident()), "confidence": -c["confidence"]},
        "members are less confident than non-members throughout (AUC 0.3",
    ),
    "both transposed": (lambda: transposed(confident()), "more models (400) than examples (14)"),
    "one absurd value": (
        lambda: absurd(confident(), 1e4), "model 3 has confidence 10000 for example 7, query 0: that value alone"
    ),
    "an infinity made finite": (
        lambda: absurd(confident(), float(np.finfo(np.float32).max)), "model 3 has confidence 3.40282e+38 for example 7"
    ),
}  # fmt: skip

HONEST: dict[str, Callable[[], Arrays]] = {
    "confidences": confident,
    "confidences of 18 queries": lambda: confident(18),
    "pure noise": lambda: confident(3, 0.0) | {"confidence": np.random.default_rng(2).normal(size=(14, 400, 3))},
    "no leak": lambda: confident(2, 0.0),
    "ten classes": classified,
    "two classes, two queries": lambda: classified(2, 2),
    "a hundred classes": lambda: classified(100),
    "equal confidences": lambda: {**(c := confident()), "confidence": np.ones_like(c["confidence"])},
    "squared errors": lambda: {**(c := confident()), "confidence": -np.exp(-c["confidence"])},
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_input_that_gives_itself_away_is_told_so_once(name: str) -> None:
    make, sentence = SITUATIONS[name]
    (note,) = doubts(Observed(**make()))
    assert sentence in note


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_input_raises_no_doubt(name: str) -> None:
    assert list(doubts(Observed(**HONEST[name]()))) == []


def test_confidences_that_contradict_the_logits_are_told_so() -> None:
    given = classified()
    assert list(contradiction(Observed(**given))) == []
    rounded = {**given, "confidence": given["confidence"].astype(np.float16).astype(np.float32)}
    assert list(contradiction(Observed(**rounded))) == []
    (note,) = contradiction(Observed(**{**given, "confidence": given["confidence"] / 2}))
    assert "of the confidences differ from those that logits and labels give" in note


def test_masks_that_are_balanced_over_shadows_and_targets_are_recognised() -> None:
    together = half(10, 400)
    assert finite_population(together[:8], together[8:])
    nearly = together.copy()
    nearly[9, :40] = ~nearly[9, :40]  # a tenth of the examples breaks the balance
    assert finite_population(nearly[:8], nearly[8:])


@pytest.mark.parametrize("seed", range(20))
def test_masks_that_were_drawn_apart_are_not_taken_for_one_population(seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = rng.random((2, 400)) < 0.5
    assert not finite_population(half(8, 400, seed), apart)
    assert not finite_population(rng.random((8, 400)) < 0.5, apart)


def test_an_absurd_value_is_found_in_whatever_block_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_privq.audit.plausible._BLOCK", 14 * 10)
    (note,) = doubts(Observed(**absurd(confident(), -1e5)))
    assert "model 3 has confidence -100000 for example 7" in note
