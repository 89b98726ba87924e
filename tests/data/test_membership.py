from __future__ import annotations

import numpy as np
import pytest

from lit_privq.data.membership import (
    calibration_indices,
    equal_batches,
    half_membership,
    parse_models,
    study_membership,
    target_membership,
)


@pytest.mark.parametrize("n_models", [2, 8, 64])
@pytest.mark.parametrize("n_examples", [2, 100, 101])
def test_each_example_trains_exactly_half_of_the_models(n_models: int, n_examples: int) -> None:
    members = half_membership(n_models, n_examples, seed=0)  # (models, examples)
    assert (members.sum(axis=0) == n_models // 2).all()


@pytest.mark.parametrize("n_models", [2, 8, 64])
@pytest.mark.parametrize("n_examples", [2, 100, 101])
def test_each_model_trains_on_half_of_the_pool_to_one_example(n_models: int, n_examples: int) -> None:
    counts = half_membership(n_models, n_examples, seed=0).sum(axis=1)
    assert set(counts.tolist()) <= {n_examples // 2, (n_examples + 1) // 2}


def test_two_models_are_no_more_alike_than_the_margins_ask_for() -> None:
    members = half_membership(64, 2000, seed=3) * 2.0 - 1.0
    correlation = members @ members.T / 2000
    off_diagonal = correlation[~np.eye(64, dtype=bool)]
    # With both margins fixed two rows correlate by -1 / 63 on average; the rest is sampling noise of 1 / sqrt(2000).
    assert off_diagonal.mean() == pytest.approx(-1 / 63, abs=1e-12)
    assert off_diagonal.std() < 1.2 / np.sqrt(2000)


def test_complementary_start_is_forgotten() -> None:
    members = half_membership(16, 2000, seed=0)
    agreement = [(members[k] == members[k + 1]).mean() for k in range(0, 16, 2)]
    assert min(agreement) > 0.4  # complements agree nowhere


def test_the_seed_decides_and_another_seed_decides_otherwise() -> None:
    same, again, other = (half_membership(4, 50, seed=seed) for seed in (7, 7, 8))
    assert (same == again).all()
    assert (same != other).any()


@pytest.mark.parametrize("n_models", [0, 1, 63])
def test_an_odd_number_of_shadows_is_refused_with_the_next_even_ones(n_models: int) -> None:
    with pytest.raises(ValueError, match=f"must be even.*got {n_models}"):
        half_membership(n_models, 10, seed=0)


def test_shadows_say_nothing_about_targets() -> None:
    shadows, targets = half_membership(64, 4000, seed=0), target_membership(10, 4000, seed=0)
    correlation = (shadows * 2.0 - 1.0) @ (targets * 2.0 - 1.0).T / 4000
    assert abs(correlation).max() < 5 / np.sqrt(4000)  # five standard errors, 640 pairs


def test_a_target_keeps_its_members_when_others_are_added() -> None:
    few, many = study_membership(4, 1, 20, seed=0), study_membership(4, 3, 20, seed=0)
    assert (few == many[:5]).all()


def test_calibration_examples_are_the_models_own_members_and_stay_the_same() -> None:
    members = half_membership(4, 100, seed=0)
    chosen = calibration_indices(members[2], 30, seed=0, model=2)
    assert members[2, chosen].all()
    assert len(set(chosen.tolist())) == 30
    assert (chosen == calibration_indices(members[2], 30, seed=0, model=2)).all()


def test_calibration_larger_than_the_members_is_refused() -> None:
    with pytest.raises(ValueError, match="50 training members; got 51"):
        calibration_indices(half_membership(2, 100, seed=0)[0], 51, seed=0, model=0)


@pytest.mark.parametrize("models", ["", "a", "3:3", "5:2", "-1", "0:9", 8, "1:2:3", "1.5"])
def test_an_index_outside_the_study_is_refused(models: int | str) -> None:
    with pytest.raises(ValueError, match="model_index must be an index such as 3 or a range such as 0:16"):
        parse_models(models, 8)


@pytest.mark.parametrize(("n", "batch"), [(1, 1), (600, 64), (899, 64), (25000, 128)])
def test_batches_of_an_epoch_are_equal_to_one_example_and_lose_none(n: int, batch: int) -> None:
    sizes = equal_batches(n, batch, -(-n // batch))
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch
