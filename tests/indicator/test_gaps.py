import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from lit_privq.indicator.gaps import bernstein_bound, indicator, indicator_lse, loss_gaps

Array = NDArray[np.float64]


@pytest.fixture
def losses() -> Array:
    return np.random.default_rng(0).gamma(2.0, size=(7, 400)) + np.linspace(0, 0.5, 7)[:, None]  # (codewords, examples)


def test_gaps_by_hand() -> None:
    gaps = loss_gaps(np.array([[[3.0, 3.0], [1.0, 0.0], [2.0, 4.0]]]))
    assert gaps.best.tolist() == [1]
    np.testing.assert_array_equal(gaps.mean, [[2.5, np.nan, 2.5]])
    np.testing.assert_array_equal(gaps.variance, [[0.25, np.nan, 2.25]])
    np.testing.assert_array_equal(gaps.reach, [[0.5, np.nan, 1.5]])
    np.testing.assert_allclose(indicator(gaps), [2.5**2 / (2 * 2.25)])


def test_weights_stand_for_repeated_examples(losses: Array) -> None:
    times = np.random.default_rng(1).integers(1, 4, size=losses.shape[1])
    weighted = loss_gaps(losses, weights=times / times.sum())
    repeated = loss_gaps(losses.repeat(times, axis=1))
    np.testing.assert_allclose(weighted.rates, repeated.rates, rtol=1e-9)  # two orders of summation


def test_a_gaussian_gap_has_the_exponent_of_its_error_probability() -> None:
    """Closed form for K = 2: the mean of n gaps N(delta, sigma^2) is negative with chance Phi(-sqrt n delta/sigma)."""
    delta, sigma, n = 0.3, 0.8, 1_000_000
    quantiles = norm(delta, sigma).ppf((np.arange(200_000) + 0.5) / 200_000)
    rate = indicator(loss_gaps(np.stack([np.zeros_like(quantiles), quantiles])))
    exact = -norm.logcdf(-np.sqrt(n) * delta / sigma) / n
    assert rate == pytest.approx(exact, rel=1e-4)  # log(n) / n of the tail, and 200,000 quantiles for the variance


def test_r_ignores_the_order_of_codewords_and_examples(losses: Array) -> None:
    rng = np.random.default_rng(2)
    shuffled = losses[rng.permutation(7)][:, rng.permutation(400)]
    np.testing.assert_allclose(indicator(loss_gaps(shuffled)), indicator(loss_gaps(losses)), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_r_ignores_the_unit_of_the_loss(losses: Array, scale: float) -> None:
    np.testing.assert_allclose(indicator(loss_gaps(scale * losses)), indicator(loss_gaps(losses)), rtol=1e-12)


def test_r_ignores_what_all_codewords_lose_alike(losses: Array) -> None:
    common = np.random.default_rng(3).normal(size=losses.shape[1])
    np.testing.assert_allclose(indicator(loss_gaps(losses + common)), indicator(loss_gaps(losses)), rtol=1e-9)


def test_r_ignores_duplicated_codewords(losses: Array) -> None:
    twice = loss_gaps(np.concatenate([losses, losses]))
    np.testing.assert_allclose(indicator(twice), indicator(loss_gaps(losses)), rtol=1e-12)


def test_r_is_the_least_gap_squared_over_twice_the_largest_lambda(losses: Array) -> None:
    gaps = loss_gaps(losses)
    from_lambda = np.nanmin(gaps.mean) ** 2 / (2 * np.nanmax(gaps.lambdas))
    assert indicator(gaps) == pytest.approx(from_lambda, rel=1e-12)


def test_a_competitor_as_good_as_the_best_leaves_no_security() -> None:
    gaps = loss_gaps(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert indicator(gaps) == 0
    assert np.nanmax(gaps.lambdas) == 1.0


def test_without_competitors_everything_is_secure() -> None:
    gaps = loss_gaps(np.ones((2, 1, 5)))
    assert indicator(gaps).tolist() == [np.inf, np.inf]
    assert indicator_lse(gaps, n=10).tolist() == [np.inf, np.inf]
    assert bernstein_bound(gaps, n=10).tolist() == [1.0, 1.0]


def test_what_is_not_kept_does_not_count(losses: Array) -> None:
    kept = np.array([True, False, True, True, False, False, True])
    np.testing.assert_array_equal(indicator(loss_gaps(losses, kept=kept)), indicator(loss_gaps(losses[kept])))


def test_runs_are_estimated_together_as_they_are_alone(losses: Array) -> None:
    runs = np.stack([losses, losses[::-1] ** 2])
    np.testing.assert_allclose(
        indicator_lse(loss_gaps(runs), n=50), [indicator_lse(loss_gaps(run), n=50) for run in runs], rtol=1e-12
    )


@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_all_competitors_together_lie_between_the_nearest_and_all_being_nearest(losses: Array, n: int) -> None:
    gaps = loss_gaps(losses)
    r, together = indicator(gaps), indicator_lse(gaps, n)
    assert r - np.log(6) / n <= together <= r


def test_the_bernstein_bound_lies_below_the_gaussian_one_and_grows_with_n(losses: Array) -> None:
    gaps = loss_gaps(losses)
    sizes = np.array([10, 1000, 10_000, 1_000_000])
    bounds = np.array([bernstein_bound(gaps, n) for n in sizes])
    assert (np.diff(bounds) >= 0).all()
    assert bounds[0] == 0
    assert (bounds <= np.maximum(0, 1 - 2 * np.exp(-sizes * indicator(gaps)))).all()


def test_gaps_of_float32_losses_are_taken_in_float64() -> None:
    losses = np.array([[1.0, 1.0], [1.0, 1.0 + 2**-23]], dtype=np.float32)
    assert loss_gaps(losses).mean[1] == 2**-24


def test_losses_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="losses must be finite"):
        loss_gaps(np.array([[0.0, np.nan], [1.0, 1.0]]))


def test_a_run_without_codewords_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one codeword"):
        loss_gaps(np.ones((2, 3, 4)), kept=np.array([[True, False, False], [False, False, False]]))
