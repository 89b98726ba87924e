from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from lit_privq.data import Canaries, Digits, Downsampled, Pool


@dataclass(frozen=True)
class Fixed:
    """A source that returns the pool it holds."""

    pool: Pool

    def load(self, root: Path, download: bool) -> Pool:
        return self.pool


def load(source: Downsampled | Canaries) -> Pool:
    return source.load(Path(), download=False)


def test_every_pixel_is_the_rounded_mean_of_a_square() -> None:
    whole = Digits(pool_size=60).load(Path(), download=False)
    small = load(Downsampled(Digits(pool_size=60), factor=4))
    assert small.name == "digits_2x2"
    squares = whole.inputs.double().reshape(60, 1, 2, 4, 2, 4).mean(dim=(3, 5))
    assert torch.equal(small.inputs, squares.round().to(torch.uint8))
    assert small.test_inputs.shape[1:] == (1, 2, 2)
    assert torch.equal(small.labels, whole.labels)
    assert small.mean == whole.mean


def test_canaries_of_the_source_stay_canaries() -> None:
    pool = load(Downsampled(Canaries(Digits(pool_size=60), count=5)))
    assert int(pool.slices["canaries"].sum()) == 5


def test_a_factor_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be at least 2; got 1"):
        Downsampled(Digits(), factor=1)
    with pytest.raises(ValueError, match=r"factor must divide the images of digits, which are 8x8; got 3"):
        load(Downsampled(Digits(), factor=3))


def test_features_are_refused() -> None:
    pool = Digits(pool_size=60).load(Path(), download=False)
    features = replace(pool, inputs=pool.inputs.float(), test_inputs=pool.test_inputs.float(), mean=(), std=())
    with pytest.raises(ValueError, match=r"Downsampled needs images, and examples of digits are torch\.float32"):
        load(Downsampled(Fixed(features)))
