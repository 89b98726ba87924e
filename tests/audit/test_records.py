from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.audit.records import COLUMNS, Records, identified_at, write_records


def test_an_example_is_identified_at_the_share_of_non_members_who_score_as_high() -> None:
    scores = np.array([[9.0, 5.0, 5.0, 1.0, 0.0, 0.5]])
    members = np.array([[True, True, False, False, True, False]])
    # Before the three non-members 5, 1 and 0.5: none reaches 9, one reaches 5, all reach 0.
    np.testing.assert_allclose(identified_at(scores, members), [0, 1 / 3, np.nan, np.nan, 1, np.nan])


def test_the_median_is_over_the_targets_that_trained_on_an_example() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 4.0, 1.0], [0.0, 2.0, 1.0], [5.0, 0.0, 1.0]])
    members = np.array([[True, False, False], [True, False, False], [True, False, False], [False, True, False]])
    # Example 0: no one, one of two, and both score as high. Example 1: both, in the one target that trained on it.
    np.testing.assert_allclose(identified_at(scores, members), [0.5, 1.0, np.nan])


def test_of_equal_scores_the_non_members_count() -> None:
    assert identified_at(np.zeros((1, 4)), np.array([[True, False, False, True]])).tolist()[::3] == [1.0, 1.0]


def test_the_table_has_a_row_for_each_example_and_variant(tmp_path: Path) -> None:
    full = Records(FULL_PRECISION, "unaware", np.array([2.5, np.nan]), np.array([0.0, 1 / 3]), np.array([3, 1]))
    low = Records(
        Variant("obc", 2, 2, recipe="smooth"),
        "adaptive",
        np.array([-0.1, 0.0]),
        np.array([0.25, np.nan]),
        np.array([3, 0]),
    )
    slices = {"canaries": np.array([True, False]), "old": np.array([True, True])}
    write_records(tmp_path / "vulnerability.csv", [full, low], slices, "plain")
    assert (tmp_path / "vulnerability.csv").read_text().splitlines() == [
        "example,slices,variant,attacker,separation,identified_at_fpr,targets,recipe",
        "0,canaries old,none-32,unaware,2.5,0,3,plain",
        "0,canaries old,obc-2@smooth,adaptive,-0.1,0.25,3,smooth",
        "1,old,none-32,unaware,,0.333333,1,plain",
        "1,old,obc-2@smooth,adaptive,0,,0,smooth",
    ]


def test_an_example_of_no_slice_has_an_empty_field_and_no_record_is_a_header_alone(tmp_path: Path) -> None:
    one = Records(FULL_PRECISION, "unaware", np.zeros(1), np.zeros(1), np.zeros(1, np.intp))
    write_records(tmp_path / "one.csv", [one], {"old": np.array([False])})
    with (tmp_path / "one.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["slices"] == ""
    write_records(tmp_path / "none.csv", [], {})
    assert (tmp_path / "none.csv").read_text() == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("strength", [0.0, 30.0])
def test_examples_that_are_given_away_are_identified_early_and_others_anywhere(strength: float) -> None:
    random = np.random.default_rng(0)
    members = random.random((21, 500)) < 0.5
    scores = random.normal(size=members.shape) + strength * members * (np.arange(500) < 10)
    found = identified_at(scores, members)
    assert (found[:10] == 0).all() if strength else abs(found[:10].mean() - 0.5) < 0.2
    assert abs(found[10:].mean() - 0.5) < 0.02  # uniform over fractions; medians of about ten
