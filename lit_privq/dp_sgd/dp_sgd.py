"""DP-SGD: the part of a recipe that makes its gradients private."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_privq.dp_sgd.accountant import check_opacus, epsilon
from lit_privq.dp_sgd.per_example import LayerCall, per_example_gradients


@dataclass(frozen=True)
class DPSGD:
    """Clip each example's gradient, add normal noise to their sum, and step by it.

    The noise is drawn from the study's seed, so that a training can be repeated; whoever knows the seed can subtract
    it. A model that is released must be trained with a seed that nobody knows.

    Args:
        noise_multiplier: standard deviation of the noise, in units of ``max_grad_norm``; 0 only clips.
        max_grad_norm: L2 norm, over all parameters, to which an example's gradient is clipped.
        sampling: ``poisson``: every member is in every batch with the same probability, independently, as epsilon
            assumes; ``shuffled``: batches of equal size that go through all members, without a guarantee.
        delta: probability with which the guarantee may fail.

    Raises:
        ValueError: if a number is out of its range, or opacus, which computes epsilon, is missing.

    Source: Abadi et al. 2016, arXiv:1607.00133.
    """

    noise_multiplier: float
    max_grad_norm: float = 1.0
    sampling: Literal["poisson", "shuffled"] = "poisson"
    delta: float = 1e-5

    def __post_init__(self) -> None:
        for name, holds, must in (
            ("noise_multiplier", 0 <= self.noise_multiplier < math.inf, "be a number of at least 0, such as 0.3"),
            ("max_grad_norm", 0 < self.max_grad_norm < math.inf, "be a number above 0, such as 1"),
            ("sampling", self.sampling in ("poisson", "shuffled"), "be poisson or shuffled"),
            ("delta", 0 < self.delta < 1, "lie between 0 and 1, such as 1e-5"),
        ):
            if not holds:
                raise ValueError(f"{name} of DP-SGD must {must}; got {getattr(self, name)}")
        if self.private:
            check_opacus()

    @property
    def private(self) -> bool:
        """Whether there is a guarantee at all."""
        return self.sampling == "poisson" and self.noise_multiplier > 0

    def spent(self, sample_rate: float, steps: int) -> dict[str, Any]:
        """What a checkpoint says of its privacy: these numbers and ``epsilon``, None where nothing is guaranteed."""
        bound = epsilon(self.noise_multiplier, sample_rate, steps, self.delta) if self.private else None
        return {**asdict(self), "sample_rate": sample_rate, "steps": steps, "epsilon": bound}

    def backward(
        self,
        loss: Tensor,
        calls: Sequence[LayerCall],
        parts: Sequence[nn.Module],
        generators: Sequence[torch.Generator],
        batch_size: float,
    ) -> None:
        """Give every trainable parameter its private gradient, in the place of ``loss.backward()``.

        Args:
            loss: sum of the losses of all models' examples.
            calls: of the forward pass, as `watched` collected them.
            parts: the modules that hold the models: one for each, or one for all of them, whose parameters then are
                (models, ...).
            generators: of each model's noise.
            batch_size: what the noisy sum is divided by: the mean size of a batch, never this batch's own.
        """
        gradients = per_example_gradients(calls, loss)
        batch = max(map(len, gradients.values()), default=1)
        each = len(generators) // len(parts)  # models
        for k, part in enumerate(parts):
            parameters = [parameter for parameter in part.parameters() if parameter.requires_grad]
            zero = parameters[0].new_zeros(())
            found = [gradients.get(one, zero.expand(batch, *one.shape)).reshape(batch, each, -1) for one in parameters]
            total = clipped_sum(found, self.max_grad_norm)  # (models, numbers)
            scale = self.noise_multiplier * self.max_grad_norm
            for row, generator in zip(total, generators[k * each :], strict=False):
                row.add_(torch.empty_like(row).normal_(generator=generator), alpha=scale)
            parts_of_total = (total / batch_size).split([one.shape[2] for one in found], dim=1)
            for parameter, gradient in zip(parameters, parts_of_total, strict=True):
                parameter.grad = gradient.reshape(parameter.shape)


def clipped_sum(gradients: Sequence[Tensor], max_grad_norm: float) -> Tensor:
    """Sum over examples of their gradients, each scaled down to a norm over all parameters of at most this.

    Args:
        gradients: (batch, models, numbers) of each parameter.
        max_grad_norm: above 0.

    Returns:
        (models, numbers of all parameters).

    >>> clipped_sum([torch.tensor([[[3.0]], [[0.3]]]), torch.tensor([[[4.0]], [[0.4]]])], max_grad_norm=1.0)
    tensor([[0.9000, 1.2000]])
    """
    norms = torch.stack([torch.linalg.vector_norm(one, dim=2) for one in gradients]).norm(dim=0)  # (batch, models)
    factors = max_grad_norm / norms.clamp(min=max_grad_norm)
    return torch.cat([torch.einsum("bm,bmn->mn", factors, one) for one in gradients], dim=1)
