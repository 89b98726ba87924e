from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_privq.data.batches import BatchIndices, BatchMaker
from lit_privq.data.pool import Pool
from lit_privq.data.task import Classification, Regression

MEAN, STD = (0.2, 0.5, 0.7), (0.3, 0.2, 0.1)


def colours(n: int, size: int = 5) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def obvious(image: Tensor, down: int, right: int, mirrored: bool) -> Tensor:
    """One pixel after the other: the window of the padded image, mirrored, then normalised."""
    channels, height, width = image.shape
    out = torch.empty(channels, height, width)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                row, column = y + down, (width - 1 - x if mirrored else x) + right
                inside = 0 <= row < height and 0 <= column < width
                value = float(image[c, row, column]) if inside else 0.0
                out[c, y, x] = (value / 255 - MEAN[c]) / STD[c]
    return out


def pool(**changes: Tensor) -> Pool:
    given = Pool("colours", colours(4), torch.arange(4), colours(3), torch.arange(3), 4, MEAN, STD)
    return replace(given, **changes)  # type: ignore[arg-type]  # mypy holds every field against Tensor


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_a_batch_equals_an_obvious_loop(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images, labels = colours(7), torch.arange(7) * 10
    indices = torch.from_numpy(rng.integers(0, 7, shape))
    shifts = torch.from_numpy(rng.integers(-2, 3, (*shape, 2)))
    mirrored = torch.from_numpy(rng.random(shape) < 0.5)
    sampler = BatchMaker(images, labels, MEAN, STD, padding=2, device=torch.device("cpu"))
    batch, classes = sampler.batch(BatchIndices(indices, shifts, mirrored))
    assert batch.shape == (*shape, 3, 5, 5)
    assert torch.equal(classes, indices * 10)
    for at in np.ndindex(*shape):
        down, right = shifts[at].tolist()
        expected = obvious(images[indices[at]], down, right, bool(mirrored[at]))
        torch.testing.assert_close(batch[at], expected, rtol=1e-5, atol=1e-5)  # float32


def test_an_unshifted_example_is_its_normalised_self_whatever_the_padding() -> None:
    images = colours(3)
    zeros = torch.zeros(3, 2, dtype=torch.int64)
    picks = BatchIndices(torch.arange(3), zeros, torch.zeros(3, dtype=torch.bool))
    one, other = (
        BatchMaker(images, torch.arange(3), MEAN, STD, p, torch.device("cpu")).batch(picks)[0] for p in (0, 4)
    )
    assert torch.equal(one, other)


def test_inputs_without_mean_and_deviation_are_used_as_they_are() -> None:
    features = torch.randn(5, 3)
    picks = BatchIndices(torch.tensor([4, 0]), torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, dtype=torch.bool))
    batch, _ = BatchMaker(features, torch.arange(5), (), (), padding=0, device=torch.device("cpu")).batch(picks)
    assert torch.equal(batch, features[[4, 0]])


def test_the_fingerprint_sees_every_part_of_the_data() -> None:
    inputs = pool().inputs.clone()
    inputs[3, 2, 4, 4] += 1
    others = [pool(inputs=inputs), pool(labels=torch.tensor([0, 1, 3, 2])), pool(test_inputs=colours(3).flip(0)),
              pool(test_labels=torch.tensor([0, 2, 1])), pool(inputs=pool().inputs.float())]  # fmt: skip
    assert pool().fingerprint() == pool().fingerprint()
    assert len({pool().fingerprint(), *(other.fingerprint() for other in others)}) == 6


def values(labels: list[float], tests: list[float]) -> Pool:
    return Pool("values", torch.zeros(3, 2), torch.tensor(labels), torch.zeros(2, 2), torch.tensor(tests), n_classes=0)


def test_labels_tell_what_models_are_for() -> None:
    assert pool().task == Classification(4)
    assert values([1.0, 2.0, 3.0], [0.0, 4.0]).task == Regression(variance=4.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_counted_and_the_first_is_named(bad: float) -> None:
    with pytest.raises(
        ValueError, match=r"^labels must be finite; 2 of 3 of values are NaN or infinite, the first is example 1;"
    ):
        values([1.0, bad, bad], [0.0, 4.0])
    with pytest.raises(ValueError, match=r"^test_labels must be finite; 1 of 2"):
        values([1.0, 2.0, 3.0], [bad, 4.0])


def test_values_are_not_taken_for_classes_nor_classes_for_values() -> None:
    with pytest.raises(ValueError, match=r"labels of 4 classes must be integers; those of colours are torch.float32"):
        pool(labels=torch.zeros(4))
    with pytest.raises(ValueError, match=r"labels of a regression must be float32; those of colours are torch.int64"):
        replace(pool(), n_classes=0)


def test_r_squared_needs_different_values() -> None:
    with pytest.raises(
        ValueError, match="R squared needs different values in the test set; all of values are the same"
    ):
        _ = values([1.0, 2.0, 3.0], [5.0, 5.0]).task
