from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lit_privq.data.digits import Digits


def test_pool_and_test_set_are_disjoint_parts_of_the_1797_digits() -> None:
    pool = Digits(pool_size=1200).load(Path(), False)
    assert pool.inputs.shape == (1200, 1, 8, 8)
    assert pool.test_inputs.shape == (597, 1, 8, 8)
    assert pool.inputs.dtype == pool.test_inputs.dtype == torch.uint8
    assert pool.labels.dtype == torch.int64
    assert (pool.name, pool.n_classes) == ("digits", 10)
    assert int(pool.inputs.max()) == 240  # 16 grey levels, spread over a byte
    other = Digits(pool_size=300).load(Path(), False)
    assert torch.equal(torch.cat([other.inputs, other.test_inputs]), torch.cat([pool.inputs, pool.test_inputs]))


def test_every_class_has_its_share_of_the_pool() -> None:
    counts = torch.bincount(Digits(pool_size=1200).load(Path(), False).labels, minlength=10)
    assert counts.min() > 100


def test_mean_and_deviation_are_those_of_the_pixels() -> None:
    pool = Digits().load(Path(), False)
    pixels = pool.inputs.float() / 255
    assert abs(float(pixels.mean()) - pool.mean[0]) < 0.01
    assert abs(float(pixels.std()) - pool.std[0]) < 0.01


@pytest.mark.parametrize("size", [1, 1797])
def test_a_pool_that_leaves_no_test_set_or_cannot_be_halved_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"pool_size must lie between 2 and 1796; got {size}"):
        Digits(pool_size=size).load(Path(), False)
