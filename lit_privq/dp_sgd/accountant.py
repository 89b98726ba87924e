"""What DP-SGD guarantees: epsilon by opacus' accountant."""

from __future__ import annotations

import warnings
from importlib.util import find_spec


def epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Epsilon of DP-SGD with Poisson sampling, at a given delta, for neighbours that differ by one example.

    Renyi orders below 1.1 are added to opacus': they decide where there is little noise. Every order gives a bound, so
    more of them can only lower it.

    Args:
        noise_multiplier: standard deviation of the noise, in units of the largest gradient norm.
        sample_rate: probability with which an example is in a batch.
        steps: how many.
        delta: probability with which the guarantee may fail.

    Raises:
        ValueError: if opacus is not installed.

    Source: Mironov et al. 2019, arXiv:1908.10530, as opacus implements it.
    """
    check_opacus()
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    orders = [*(1 + k / 1000 for k in range(1, 100)), *RDPAccountant.DEFAULT_ALPHAS]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # a bound at any order is one
        return float(accountant.get_epsilon(delta, alphas=orders))


def check_opacus() -> None:
    """Refuse to account without opacus.

    Raises:
        ValueError: naming the extra that installs it.
    """
    if find_spec("opacus") is None:
        raise ValueError(
            "epsilon of DP-SGD is computed by opacus, which is not installed; pip install 'lit_privq[dp]', or set "
            "model.dp_sgd.sampling shuffled, which has no guarantee"
        )
