"""Tasks, as the labels of a pool imply them: classification or regression; their losses, metrics and confidences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


class Task(ABC):
    """The loss that models are trained with, the metric they are judged by, and the confidence attacks use.

    Answers are (..., batch, outputs), as networks give them; labels are (..., batch), or a shape that broadcasts to it.
    """

    metric: ClassVar[str]  # name of the mean utility in results.csv

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of outputs of a network."""

    @abstractmethod
    def duty(self, dataset: str) -> str:
        """What a network must do, as a part of a message."""

    @abstractmethod
    def losses(self, answers: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Loss of each example, (..., batch)."""

    @abstractmethod
    def utility(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Utility of each answer, (..., batch); its mean over the test set is the metric."""

    @abstractmethod
    def confidence(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Confidence that attacks use, (..., batch) float64; larger for better answers."""


@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy, accuracy, and the log-odds of the true class.

    Args:
        n_classes: at least 2.
    """

    n_classes: int
    metric: ClassVar[str] = "accuracy"

    @property
    def outputs(self) -> int:
        """A logit for each class."""
        return self.n_classes

    def duty(self, dataset: str) -> str:
        """Tell the classes apart."""
        return f"tell the {self.n_classes} classes of {dataset} apart"

    def losses(self, answers: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, (..., batch); the labels' shape is (..., batch) too."""
        flat = functional.cross_entropy(
            at_least_float32(answers).flatten(0, -2),
            labels.flatten(),
            label_smoothing=label_smoothing,
            reduction="none",
        )
        return flat.view(labels.shape)

    def utility(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Whether the answer is right, (..., batch) bool."""
        return answers.argmax(-1) == labels

    def confidence(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Log-odds of the true class, log p_y - log(1 - p_y), in nats, (..., batch) float64.

        Taken from logits, not from probabilities: a float32 softmax rounds p_y to 1 for the very examples that decide
        the true-positive rate at 0.1 % false positives. `lit_privq.attacks.logit_confidence` is the same in NumPy.

        Raises:
            ValueError: if a label is not in [0, classes).

        Source: Carlini et al. 2022, arXiv:2112.03570, "logit scaling".

        >>> Classification(3).confidence(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0]))
        tensor([1.3069], dtype=torch.float64)
        """
        classes = answers.shape[-1]
        wrong = labels[(labels < 0) | (labels >= classes)]
        if wrong.numel():
            raise ValueError(
                f"labels must lie in [0, {classes}), one per class of the network; got {wrong[0].item()}, "
                "check num_classes of the network against the data set"
            )
        logits = answers.double()
        index = labels.long().expand(logits.shape[:-1]).unsqueeze(-1)  # (..., 1)
        others = logits.scatter(-1, index, -torch.inf)  # (..., classes)
        return logits.gather(-1, index).squeeze(-1) - others.logsumexp(dim=-1)  # (...,)


@dataclass(frozen=True)
class Regression(Task):
    """Squared error, R squared, and the negative squared error as confidence.

    The confidence is -(y - f)^2 as it is, in squared units of the label: what Aubinais et al. attack regressions by.
    Unlike log-odds it is bounded above and far from normal, so LiRA's Gaussians fit it less well, but members still
    differ from non-members in it. It is no log-odds of a probability: RMIA and BASE do not apply.

    Args:
        variance: of the test set's labels, above 0.

    Source: Aubinais et al. 2025, arXiv:2502.06567, molecules.

    >>> answers, labels = torch.tensor([[1.0], [2.5]]), torch.tensor([1.0, 3.0])
    >>> Regression(variance=1.0).confidence(answers, labels), Regression(variance=1.0).utility(answers, labels).mean()
    (tensor([-0.0000, -0.2500], dtype=torch.float64), tensor(0.8750))
    """

    variance: float
    metric: ClassVar[str] = "r2"

    @property
    def outputs(self) -> int:
        """The value."""
        return 1

    def duty(self, dataset: str) -> str:
        """Predict the value."""
        return f"predict the one value that {dataset} holds of each example"

    def losses(self, answers: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Squared error, (..., batch).

        Raises:
            ValueError: if labels are to be smoothed.
        """
        if label_smoothing:
            raise ValueError(f"label_smoothing is for classes, and these labels are values; got {label_smoothing}")
        return (at_least_float32(answers).squeeze(-1) - labels).square()

    def utility(self, answers: Tensor, labels: Tensor) -> Tensor:
        """1 - squared error / variance, (..., batch) float32: over the test set, R squared is its mean."""
        return (1 + self.confidence(answers, labels) / self.variance).float()

    def confidence(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Negative squared error, (..., batch) float64."""
        return -(answers.double().squeeze(-1) - labels).square()


def at_least_float32(answers: Tensor) -> Tensor:
    """Answers in float32, or the finer type they have: no loss is taken in half precision."""
    return answers.to(torch.promote_types(answers.dtype, torch.float32))
