import numpy as np
import pytest

from lit_privq.indicator.stability import rank_stability, spearman


def test_spearman_by_hand() -> None:
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_spearman_gives_ties_their_mean_rank() -> None:
    assert spearman(np.array([1.0, 1, 2]), np.array([5.0, 5, 9])) == pytest.approx(1)


def test_spearman_ranks_infinity_last() -> None:
    assert spearman(np.array([1.0, np.inf, 2]), np.array([1.0, 3, 2])) == pytest.approx(1)


def test_spearman_with_a_constant_is_undefined() -> None:
    assert np.isnan(spearman(np.ones(3), np.arange(3.0)))


def test_the_ranking_from_all_runs_agrees_with_itself() -> None:
    values = np.random.default_rng(0).gamma(1.0, size=(5, 12))
    stability = rank_stability(values, sizes=[12], n_subsets=5)
    np.testing.assert_allclose(stability.spearman, 1)
    assert ((stability.shares > 1 - 1e-9).sum(axis=2) == 1).all()


def test_shares_of_every_quantizer_and_of_every_rank_add_up_to_one() -> None:
    stability = rank_stability(np.random.default_rng(1).gamma(1.0, size=(6, 20)), sizes=[1, 5])
    np.testing.assert_allclose(stability.shares.sum(axis=1), 1)
    np.testing.assert_allclose(stability.shares.sum(axis=2), 1)


def test_more_runs_make_a_ranking_stabler() -> None:
    rng = np.random.default_rng(2)
    values = rng.gamma(1.0, size=(8, 64)) * np.linspace(1, 3, 8)[:, None]
    means = rank_stability(values, sizes=[1, 10, 50]).spearman.mean(axis=1)
    assert means[0] < means[1] < means[2]


def test_a_subset_cannot_be_larger_than_the_runs() -> None:
    with pytest.raises(ValueError, match="between 1 and the 4 runs"):
        rank_stability(np.ones((2, 4)), sizes=[5])
