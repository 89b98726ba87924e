from __future__ import annotations

import math
import warnings

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from lit_privq.dp_sgd import epsilon


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.1, 300), (0.5, 0.02, 50), (4.0, 0.01, 1000)])
def test_epsilon_is_that_of_opacus_own_accountant(noise: float, rate: float, steps: int) -> None:
    from opacus.accountants import RDPAccountant

    theirs = RDPAccountant()
    for _ in range(steps):
        theirs.step(noise_multiplier=noise, sample_rate=rate)
    # the same bound; the orders that are added to opacus' do not decide here
    assert epsilon(noise, rate, steps, delta=1e-5) == pytest.approx(theirs.get_epsilon(delta=1e-5), rel=1e-6)


def test_epsilon_of_abadi_et_al_is_found_and_slightly_improved() -> None:
    """Arxiv:1607.00133, section 3: q = 0.01, sigma = 4, 10,000 steps, delta 1e-5 give 1.26 by moments.

    The conversion from Renyi orders has become tighter since; opacus' numerical accountant gives 0.957.
    """
    assert 0.957 < epsilon(4.0, 0.01, 10_000, delta=1e-5) < 1.26


@pytest.mark.parametrize("sigma", [0.5, 1.0, 5.0])
def test_epsilon_of_one_release_lies_between_the_exact_and_the_classical_value(sigma: float) -> None:
    """Exact: Balle and Wang 2018, arXiv:1805.06530; classical: Dwork and Roth 2014, appendix A, valid below 1."""
    delta = 1e-5

    def excess(bound: float) -> float:
        return norm.cdf(0.5 / sigma - bound * sigma) - math.exp(bound) * norm.cdf(-0.5 / sigma - bound * sigma) - delta

    exact = brentq(excess, 0.0, 40.0)
    bound = epsilon(sigma, 1.0, 1, delta)
    assert exact < bound < 1.25 * exact
    classical = math.sqrt(2 * math.log(1.25 / delta)) / sigma
    assert bound < classical or classical > 1


def test_epsilon_grows_with_steps_and_sampling_and_shrinks_with_noise_and_delta() -> None:
    base = epsilon(1.0, 0.05, 200, 1e-5)
    assert epsilon(1.0, 0.05, 400, 1e-5) > base
    assert epsilon(1.0, 0.10, 200, 1e-5) > base
    assert epsilon(2.0, 0.05, 200, 1e-5) < base
    assert epsilon(1.0, 0.05, 200, 1e-3) < base


def test_orders_near_one_make_the_bound_for_little_noise_tighter() -> None:
    from opacus.accountants import RDPAccountant

    theirs = RDPAccountant()
    theirs.history = [(0.1, 0.1, 300)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert epsilon(0.1, 0.1, 300, 1e-5) < 0.5 * theirs.get_epsilon(delta=1e-5)
