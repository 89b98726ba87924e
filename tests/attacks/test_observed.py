from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import (
    LiRAOnline,
    Observed,
    score_leave_one_out,
)

Make = Callable[..., Observed]


@pytest.mark.parametrize(
    ("confidence", "members", "message"),
    [
        (np.zeros((4, 3, 1)), np.full((4, 3), 2), r"must be boolean \(or 0 and 1\), .* got int64 with the value 2"),
        (np.zeros((4, 3, 1)), np.full((4, 3), np.nan), "must be boolean .* got float64 with the value nan"),
        (np.zeros((4, 3, 1)), np.full((4, 3), "yes"), "must be boolean .* got <U3"),
        (np.zeros((4, 3, 1)), np.zeros(4, bool), r"members must be \(models, examples\)"),
        (np.zeros((4, 3, 1, 1)), np.zeros((4, 3), bool), r"confidence must be \(models, examples, queries\)"),
        (np.zeros((4, 2)), np.zeros((4, 3), bool), r"confidence must be \(models, examples, queries\)"),
        (np.zeros((4, 2, 1)), np.zeros((4, 3), bool), r"confidence must be \(models, examples, queries\)"),
        (np.zeros((5, 3, 1)), np.zeros((4, 3), bool), "got 5 models"),
        (
            np.full((4, 3, 1), np.nan),
            np.zeros((4, 3), bool),
            "model 0 has NaN or infinity for 3 of 3 examples, the first is example 0",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    confidence: NDArray[np.float64], members: NDArray[np.bool_], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Observed(confidence, members)


def test_memory_mapped_input_gives_the_same_scores(make: Make, tmp_path: Path) -> None:
    models = make()
    path = tmp_path / "confidence.npy"
    np.save(path, models.confidence)
    mapped = Observed(np.load(path, mmap_mode="r"), models.members)
    attack = {"a": LiRAOnline()}
    np.testing.assert_array_equal(score_leave_one_out(attack, mapped)["a"], score_leave_one_out(attack, models)["a"])


@pytest.mark.parametrize("values", [1, 8 * 2 * 7, 1 << 20])
def test_pieces_of_any_size_are_read_and_none_can_be_changed(
    values: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_privq.attacks.observed._READ", values)
    models = make(8, 60, 2)
    given = np.asarray(models.confidence)
    for rows in (slice(0, 5), slice(5, 10), slice(3, 7), slice(50, 60), slice(0, 60)):
        found = models.block(rows)
        np.testing.assert_array_equal(found, given[:, rows])
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0


def test_confidences_of_one_query_need_no_query_axis(make: Make, tmp_path: Path) -> None:
    models = make(8, 40, 1)
    flat = np.asarray(models.confidence)[..., 0]
    expected = score_leave_one_out({"a": LiRAOnline()}, models)["a"]
    for given in (flat, list(flat)):
        found = score_leave_one_out({"a": LiRAOnline()}, Observed(given, models.members))["a"]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_members_may_be_zero_and_one(make: Make, kind: type) -> None:
    models = make()
    given = Observed(models.confidence, models.members.astype(kind))
    assert given.members.dtype == np.bool_
    np.testing.assert_array_equal(given.members, models.members)
