from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lit_privq.quantization.storage import gaps, most_kept, places, pruned_bits, quantized_bits


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.9, 1.0])
def test_places_come_back_from_gaps(density: float) -> None:
    kept = np.random.default_rng(0).random(5_000) < density
    between, stored = gaps(kept)
    assert np.array_equal(places(between), stored)
    assert set(np.flatnonzero(kept)) <= set(stored)
    assert between.dtype == np.uint8


@pytest.mark.parametrize(
    ("first", "stored"), [(255, [255]), (256, [255, 256]), (511, [255, 511]), (512, [255, 511, 512])]
)
def test_a_gap_of_more_than_a_byte_is_filled_with_zeros(first: int, stored: list[int]) -> None:
    kept = np.arange(600) == first
    assert gaps(kept)[1].tolist() == stored


def test_a_layer_of_which_nothing_is_kept_has_no_gaps() -> None:
    between, stored = gaps(np.zeros(700, bool))
    assert len(between) == len(stored) == 0


def test_the_bits_of_a_pruned_layer_by_hand() -> None:
    kept = np.zeros(1_000, bool)
    kept[[0, 10, 999]] = True  # gaps of 0, 9 and 988 weights, the last with three zeros on its way
    assert pruned_bits(kept) == 6 * (16 + 8)
    kept[:400] = True
    assert pruned_bits(kept) == 1_000 + 401 * 16


def test_no_layer_keeps_more_than_there_is() -> None:
    assert most_kept(100, Fraction(0)) == 0
    assert most_kept(100, Fraction(10**6)) == 100


def test_the_bits_of_a_quantized_layer_by_hand() -> None:
    # 30 ternary codes, five to a byte, and for each of three rows a scale and a zero of 32 bits.
    assert quantized_bits(rows=3, columns=10, levels=3, number_bits=32) == 30 * 8 / 5 + 3 * 64
