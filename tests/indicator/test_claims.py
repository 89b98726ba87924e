import pytest

from lit_privq.indicator.claims import claims
from lit_privq.indicator.problems import FiniteProblems, solve_problems


def test_claims_of_the_gaussian_gap_and_of_the_bound_hold() -> None:
    truth = solve_problems(FiniteProblems(problems=2, values=3, n=12, rates=1))
    found = {claim.claim.partition(",")[0]: claim.values for claim in claims([], truth)}
    r, exact = found["Gaussian gap"]
    assert r == pytest.approx(exact, rel=1e-6)  # the tails beyond nine deviations
    assert found["Bernstein bound below brute-force MIS: least slack"][0] >= -1e-12
