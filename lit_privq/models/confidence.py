from __future__ import annotations

import torch
from torch import Tensor


def logit_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-odds of the true class, log p_y - log(1 - p_y).

    Taken from logits, not from probabilities: a float32 softmax rounds p_y to 1 for the very
    examples that decide the true-positive rate at 0.1 % false positives.

    Args:
        logits: (..., classes), any floating type; computed in float64.
        labels: class indices, (...,) or a shape that broadcasts to it.

    Returns:
        (...,) float64, in nats. Larger is more confident.

    Raises:
        ValueError: if a label is not in [0, classes).

    Source: Carlini et al. 2022, arXiv:2112.03570, "logit scaling".

    >>> logit_confidence(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0]))
    tensor([1.3069], dtype=torch.float64)
    """
    classes = logits.shape[-1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.numel():
        raise ValueError(
            f"labels must lie in [0, {classes}), one per class of the network; got {wrong[0].item()}, "
            "check num_classes of the network against the data set"
        )
    logits = logits.double()
    index = labels.long().expand(logits.shape[:-1]).unsqueeze(-1)  # (..., 1)
    others = logits.scatter(-1, index, -torch.inf)  # (..., classes)
    return logits.gather(-1, index).squeeze(-1) - others.logsumexp(dim=-1)  # (...,)
