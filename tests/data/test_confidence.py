import math

import pytest
import torch

from lit_privq.data.task import Classification


def logit_confidence(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return Classification(logits.shape[-1]).confidence(logits, labels)


def test_confidence_is_the_log_odds_of_the_true_class() -> None:
    logits = torch.randn(3, 5, 2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(5) % 7  # (examples,)
    probability = logits.softmax(-1)[:, torch.arange(5), :, labels].permute(1, 0, 2)  # (models, examples, queries)
    expected = torch.log(probability / (1 - probability))
    # moderate logits: 1 - p loses at most a few bits of float64
    torch.testing.assert_close(logit_confidence(logits, labels[:, None]), expected, rtol=1e-10, atol=1e-10)


def test_confidence_of_two_equal_classes_is_zero() -> None:
    assert logit_confidence(torch.zeros(1, 2), torch.tensor([1])).item() == 0.0


def test_confidence_of_the_uniform_answer_is_minus_log_of_the_other_classes() -> None:
    got = logit_confidence(torch.full((1, 101), 3.0), torch.tensor([7]))
    assert got.item() == pytest.approx(-math.log(100), abs=1e-12)


def test_confidence_still_ranks_examples_that_softmax_rounds_to_one() -> None:
    logits = torch.tensor([[40.0, 0.0], [80.0, 0.0]])
    assert logits.softmax(-1)[:, 0].tolist() == [1.0, 1.0]
    low, high = logit_confidence(logits, torch.tensor([0, 0]))
    assert low < high


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_confidence_ignores_what_is_added_to_all_logits(shift: float) -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    labels = torch.tensor([2])
    # 1e4 leaves float64 about 1e-12
    torch.testing.assert_close(logit_confidence(logits.double() + shift, labels), logit_confidence(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_confidence_is_float64_whatever_the_logits_are(dtype: torch.dtype) -> None:
    assert logit_confidence(torch.ones(4, 3, dtype=dtype), torch.zeros(4, dtype=torch.int64)).dtype == torch.float64


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=rf"labels must lie in \[0, 3\).*got {label}"):
        logit_confidence(torch.ones(2, 3), torch.tensor([0, label]))
