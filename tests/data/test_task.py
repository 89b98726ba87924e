from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_privq.attacks import logit_confidence
from lit_privq.data.task import Classification, Regression, Task

VALUES = torch.tensor([1.0, 2.0, 6.0])
PREDICTED = torch.tensor([[[1.0], [4.0], [5.0]], [[3.0], [3.0], [3.0]]])  # (models, batch, 1): errors 0 2 1, 2 1 3
REGRESSION = Regression(float(VALUES.var(correction=0)))


def test_the_losses_of_values_are_squared_errors() -> None:
    assert REGRESSION.losses(PREDICTED, VALUES).tolist() == [[0, 4, 1], [4, 1, 9]]


def test_the_loss_of_classes_is_minus_the_log_of_the_true_ones_probability() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])  # (1 model, 2 examples, 2 classes): 3/4, 1/2
    losses = Classification(2).losses(logits, torch.tensor([[1, 0]]))
    torch.testing.assert_close(losses, torch.tensor([[math.log(4 / 3), math.log(2)]]))


def test_smoothed_labels_share_the_loss_between_classes() -> None:
    logits, labels = torch.tensor([[[4.0, 0.0]]]), torch.tensor([[0]])
    sharp, smooth = (Classification(2).losses(logits, labels, smoothing).item() for smoothing in (0.0, 0.5))
    assert smooth == pytest.approx(sharp + 0.25 * 4, rel=1e-5)  # a quarter goes to the class that is 4 nats below


def test_values_have_no_labels_to_smooth() -> None:
    with pytest.raises(ValueError, match="label_smoothing is for classes, and these labels are values"):
        REGRESSION.losses(PREDICTED, VALUES, label_smoothing=0.1)


def test_a_perfect_regressor_has_r_squared_1_and_the_mean_label_0() -> None:
    perfect, mean = VALUES[:, None], torch.full((3, 1), float(VALUES.mean()))
    assert REGRESSION.utility(perfect, VALUES).mean() == 1
    assert REGRESSION.utility(mean, VALUES).mean().abs() < 1e-6  # float32


def test_the_mean_utility_of_values_is_r_squared() -> None:
    residual = (PREDICTED.squeeze(-1) - VALUES).square().sum(dim=1)
    r_squared = 1 - residual / (VALUES - VALUES.mean()).square().sum()
    torch.testing.assert_close(REGRESSION.utility(PREDICTED, VALUES).mean(dim=1), r_squared)


def test_the_mean_utility_of_classes_is_the_share_of_right_answers() -> None:
    right = Classification(2).utility(torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]))
    assert right.tolist() == [True, True, False]


def test_confidences_are_log_odds_or_negative_squared_errors() -> None:
    logits, labels = torch.randn(2, 5, 3), torch.tensor([0, 1, 2, 1, 0])
    expected = [logit_confidence(each, labels.numpy()) for each in logits.double().numpy()]
    np.testing.assert_allclose(Classification(3).confidence(logits, labels), expected, rtol=1e-12)
    assert REGRESSION.confidence(PREDICTED, VALUES).tolist() == [[0, -4, -1], [-4, -1, -9]]


@pytest.mark.parametrize(("task", "outputs"), [(Classification(4), 4), (REGRESSION, 1)])
def test_half_precision_is_left_before_anything_is_computed(task: Task, outputs: int) -> None:
    answers = torch.randn(2, 3, outputs)
    labels = VALUES.expand(2, 3) if outputs == 1 else torch.ones(2, 3, dtype=torch.int64)
    half = answers.bfloat16()

    def computed(given: Tensor) -> tuple[Tensor, Tensor]:
        return task.losses(given, labels), task.confidence(given, labels)

    for one, other in zip(computed(half), computed(half.float()), strict=True):
        assert torch.equal(one, other)
        assert one.dtype in (torch.float32, torch.float64)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    return Classification(logits.shape[-1]).confidence(logits, labels)


def test_confidence_is_the_log_odds_of_the_true_class() -> None:
    logits = torch.randn(3, 5, 2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(5) % 7  # (examples,)
    probability = logits.softmax(-1)[:, torch.arange(5), :, labels].permute(1, 0, 2)  # (models, examples, queries)
    expected = torch.log(probability / (1 - probability))
    # moderate logits: 1 - p loses at most a few bits of float64
    torch.testing.assert_close(log_odds(logits, labels[:, None]), expected, rtol=1e-10, atol=1e-10)


def test_confidence_of_two_equal_classes_is_zero() -> None:
    assert log_odds(torch.zeros(1, 2), torch.tensor([1])).item() == 0.0


def test_confidence_of_the_uniform_answer_is_minus_log_of_the_other_classes() -> None:
    got = log_odds(torch.full((1, 101), 3.0), torch.tensor([7]))
    assert got.item() == pytest.approx(-math.log(100), abs=1e-12)


def test_confidence_still_ranks_examples_that_softmax_rounds_to_one() -> None:
    logits = torch.tensor([[40.0, 0.0], [80.0, 0.0]])
    assert logits.softmax(-1)[:, 0].tolist() == [1.0, 1.0]
    low, high = log_odds(logits, torch.tensor([0, 0]))
    assert low < high


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_confidence_ignores_what_is_added_to_all_logits(shift: float) -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    labels = torch.tensor([2])
    # 1e4 leaves float64 about 1e-12
    torch.testing.assert_close(log_odds(logits.double() + shift, labels), log_odds(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_confidence_is_float64_whatever_the_logits_are(dtype: torch.dtype) -> None:
    assert log_odds(torch.ones(4, 3, dtype=dtype), torch.zeros(4, dtype=torch.int64)).dtype == torch.float64


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=rf"labels must lie in \[0, 3\).*got {label}"):
        log_odds(torch.ones(2, 3), torch.tensor([0, label]))
