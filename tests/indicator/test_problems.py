import numpy as np
import pytest

from lit_privq.indicator.problems import FiniteProblems, least_squares, solve_problems, ternary_rates


def test_least_squares_is_the_weighted_solution() -> None:
    rng = np.random.default_rng(0)
    inputs, targets, weights = rng.normal(size=(7, 3)), rng.normal(size=7), rng.dirichlet(np.ones(7))
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(root[:, None] * inputs, root * targets, rcond=None)[0]
    np.testing.assert_allclose(least_squares(weights[None], inputs, targets, ridge=0.0)[0], expected, rtol=1e-9)


def test_the_indicator_comes_close_to_the_exact_rate() -> None:
    for seed in range(5):
        r, exact = ternary_rates(np.random.default_rng(seed))
        assert r == pytest.approx(exact, rel=0.1)  # a Gaussian's exponent in place of the gap's own


def test_the_bound_holds_on_every_finite_problem() -> None:
    truth = solve_problems(FiniteProblems(problems=4, values=3, n=60, rates=1, seed=1))
    assert (truth.bernstein <= 1 - truth.risk + 1e-12).all()
    assert ((truth.risk >= 0) & (truth.risk <= 1) & (truth.rounding >= 0) & (truth.rounding <= 1)).all()
