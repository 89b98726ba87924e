import numpy as np
import pytest
from scipy.stats import norm

from lit_privq.indicator.codes import code_agreement, first_seen, flip_margin


def test_first_seen_counts_distinct_codewords_of_each_run() -> None:
    codes = np.random.default_rng(0).integers(0, 2, size=(5, 40, 4))
    counts = first_seen(codes).sum(axis=1)
    assert counts.tolist() == [len(np.unique(run, axis=0)) for run in codes]


def test_agreement_equals_counting_all_pairs() -> None:
    codes = np.random.default_rng(1).integers(0, 3, size=(9, 50))
    pairs = [(codes[a] == codes[b]).mean() for a in range(9) for b in range(a)]
    assert code_agreement(codes) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_agreement_of_equal_models_is_one_and_of_unlike_ones_zero() -> None:
    assert code_agreement(np.ones((4, 3))) == 1
    assert code_agreement(np.arange(12).reshape(4, 3)) == 0


def test_agreement_needs_two_trainings() -> None:
    with pytest.raises(ValueError, match="at least 2 runs; got 1"):
        code_agreement(np.ones((1, 3)))


def test_flip_margin_is_the_exponent_of_a_flip() -> None:
    """One Gaussian weight, far from its cut: the chance of another code is the Gaussian tail."""
    n, distance, deviation = 100, 0.4, 0.05
    weight = 1.5 + distance + deviation * norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    exponent = -norm.logcdf(-distance / deviation) / n
    assert flip_margin(weight[:, None], levels=4, n=n) == pytest.approx(exponent, rel=0.1)  # the tail's prefactor


def test_a_weight_beyond_the_last_code_is_measured_from_the_last_cut() -> None:
    # the last of two codes begins at 0.5; mean 9, variance 1
    assert flip_margin(np.array([[8.0], [10.0]]), levels=2, n=1) == pytest.approx(8.5**2 / 2)


def test_a_weight_on_a_cut_has_no_margin() -> None:
    assert flip_margin(np.array([[0.4], [0.6]]), levels=2, n=1) == pytest.approx(0, abs=1e-12)
