from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_privq.data.batches import BatchIndices, BatchMaker, query_views

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


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_a_batch_equals_an_obvious_loop(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images, labels = colours(7), torch.arange(7) * 10
    indices = torch.from_numpy(rng.integers(0, 7, shape))
    shifts = torch.from_numpy(rng.integers(-2, 3, (*shape, 2)))
    mirrored = torch.from_numpy(rng.random(shape) < 0.5)
    maker = BatchMaker(images, labels, MEAN, STD, padding=2, device=torch.device("cpu"))
    batch, classes = maker.batch(BatchIndices(indices, shifts, mirrored))
    assert batch.shape == (*shape, 3, 5, 5)
    assert torch.equal(classes, indices * 10)
    for at in np.ndindex(*shape):
        down, right = shifts[at].tolist()
        expected = obvious(images[indices[at]], down, right, bool(mirrored[at]))
        torch.testing.assert_close(batch[at], expected, rtol=1e-5, atol=1e-5)  # float32


def test_an_unshifted_example_is_its_normalised_self_whatever_the_padding() -> None:
    images = colours(3)
    zeros = torch.zeros(3, 2, dtype=torch.int64)
    chosen = BatchIndices(torch.arange(3), zeros, torch.zeros(3, dtype=torch.bool))
    one, other = (
        BatchMaker(images, torch.arange(3), MEAN, STD, p, torch.device("cpu")).batch(chosen)[0] for p in (0, 4)
    )
    assert torch.equal(one, other)


def test_inputs_without_mean_and_deviation_are_used_as_they_are() -> None:
    features = torch.randn(5, 3)
    chosen = BatchIndices(torch.tensor([4, 0]), torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, dtype=torch.bool))
    batch, _ = BatchMaker(features, torch.arange(5), (), (), padding=0, device=torch.device("cpu")).batch(chosen)
    assert torch.equal(batch, features[[4, 0]])


def test_the_first_query_is_the_plain_image_and_digits_are_never_mirrored() -> None:
    assert query_views(1, padding=4, mirror=True) == [(0, 0, False)]
    assert query_views(9, padding=2, mirror=False)[0] == (0, 0, False)
    assert not any(mirrored for *_, mirrored in query_views(9, padding=2, mirror=False))
