from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_privq.data.batches import BatchIndices, BatchMaker, MemberBatches, query_views

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


def member_batches(sampling: Literal["shuffled", "poisson"], padded: bool, n_examples: int = 61) -> MemberBatches:
    members = np.arange(n_examples) % 2 == np.arange(2)[:, None]  # (2, examples), of one more and of one fewer
    return MemberBatches(members, [0, 1], 0, 8, 1, True, lambda: 0, sampling=sampling, padded=padded)


def test_padded_batches_are_one_group_with_every_member_once_and_minus_one_where_there_is_none() -> None:
    batches = member_batches("shuffled", padded=True)
    seen: list[list[int]] = [[], []]
    for ((models, chosen),) in batches:
        assert models == (0, 1)
        for model in models:
            seen[model] += chosen.indices[model].tolist()
    assert [sorted(each) for each in seen] == [list(range(0, 61, 2)), [-1, *range(1, 61, 2)]]


def test_poisson_sampling_takes_each_member_independently_at_the_stated_rate() -> None:
    n_examples, epochs = 400, 60
    members = np.ones((1, n_examples), bool)
    counts = np.zeros((epochs, n_examples))
    sizes = []
    for epoch in range(epochs):
        batches = MemberBatches(
            members, [0], 0, 20, 0, False, lambda epoch=epoch: epoch, sampling="poisson", padded=True
        )
        for ((_, chosen),) in batches:
            sizes.append(len(chosen.indices[0]))
            assert len(set(chosen.indices[0].tolist())) == sizes[-1]  # nobody twice in one batch
            counts[epoch, chosen.indices[0].numpy()] += 1
    rate, trials = batches.sample_rate, len(sizes)
    assert rate == 1 / 10
    total = counts.sum(axis=0)  # binomial, of each example
    assert abs(total.mean() - rate * trials) < 5 * np.sqrt(rate * (1 - rate) * trials / n_examples)
    assert total.var() == pytest.approx(trials * rate * (1 - rate), rel=0.4)  # 5 / sqrt(n / 2), of 400 examples
    assert np.var(sizes) == pytest.approx(
        n_examples * rate * (1 - rate), rel=0.3
    )  # batches differ in size as binomials


def test_poisson_batches_do_not_depend_on_the_fleet() -> None:
    both = member_batches("poisson", padded=True)
    alone = MemberBatches(both.members, [1], 0, 8, 1, True, lambda: 0, sampling="poisson", padded=True)
    for ((_, together),), ((_, single),) in zip(both, alone, strict=True):
        indices = together.indices[1]
        assert indices[indices >= 0].tolist() == single.indices[0].tolist()
