"""BRECQ: learned rounding of whole residual blocks, so that the errors of their layers can cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.method import check_options


@dataclass(frozen=True)
class BRECQ(AdaRound):
    """AdaRound with blocks as units: the error is that of the block's output, shortcut and last activation included.

    Layers outside blocks are units of their own. The original keeps the first and the last layer at 8 bits: that is
    ``bits: {"*": 2, "conv1": 8, "fc": 8}``.

    Args:
        fisher: whether squared errors are weighted by the Fisher information of each output: the mean squared gradient
            of the network's log-likelihood, divided by its own mean. The public code adds one to gradients of some 1e-4
            before it squares them, so that all weights are nearly 1; the plain square is the default here.

    Raises:
        ValueError: if an option is out of its range, or the target is said to be linear.

    Source: Li et al. 2021, arXiv:2102.05426. Blocks, batch of 32, 20,000 iterations and the rounding term are those of
    its public code, and are the defaults; the other arguments are AdaRound's.
    """

    linear_target: Literal[False] = False
    fisher: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        must = "linear_target must be false, as a block's output is not linear in its weights; or choose AdaRound"
        check_options((not self.linear_target, must, self.linear_target))

    @property
    def unit(self) -> str:
        """One block at a time."""
        return "block"
