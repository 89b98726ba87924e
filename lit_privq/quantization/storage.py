"""How weights are stored: codes in groups of whole bytes, and the values and places of those that pruning keeps."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

VALUE_BITS = 16
"""Of a weight that pruning keeps, stored as float16."""
GAP_BITS = 8
"""Of the distance from one stored weight to the next."""
_LONGEST = 2**GAP_BITS


def group(levels: int) -> tuple[int, int]:
    """How many codes share how many bytes: the cheapest group of at most 7 bytes, which an int64 holds.

    >>> [group(levels) for levels in (2, 3, 4, 8, 16, 32, 256)]
    [(8, 1), (5, 1), (4, 1), (8, 3), (2, 1), (8, 5), (1, 1)]
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"packed codes have 2 to 256 levels (1 to 8 bits); got {levels}")
    counts = {
        size: max(count for count in range(1, 8 * size + 1) if levels**count <= 256**size) for size in range(1, 8)
    }
    size = min(counts, key=lambda size: (Fraction(size, counts[size]), size))
    return counts[size], size


def quantized_bits(rows: int, columns: int, levels: int, number_bits: int) -> Fraction:
    """Bits of a quantized layer in a packed file: its codes, and the scale and zero of each row.

    Args:
        rows: of the layer's matrix.
        columns: likewise.
        levels: of its grids.
        number_bits: of a scale or a zero.

    >>> quantized_bits(rows=10, columns=100, levels=4, number_bits=32)
    Fraction(2640, 1)
    """
    count, size = group(levels)
    return Fraction(8 * size, count) * rows * columns + 2 * number_bits * rows


def pruned_bits(kept: NDArray[np.bool_]) -> int:
    """Bits of a pruned layer in a packed file, in the better of both encodings.

    Beside 16 bits for each value, a mask takes one bit for each weight of the layer, and gaps take 8 bits for each
    value, with a 0 among the values for every 256 pruned weights in a row. Gaps are better where less than an eighth of
    the weights are kept.

    Args:
        kept: (weights,), which are kept.
    """
    return min(kept.size + VALUE_BITS * int(kept.sum()), (VALUE_BITS + GAP_BITS) * len(gaps(kept)[0]))


def most_kept(n_weights: int, bits: Fraction) -> int:
    """How many weights of a layer fit into so many bits if no 256 pruned ones lie in a row.

    >>> most_kept(25_600, Fraction(2 * 25_600)), most_kept(25_600, Fraction(4 * 25_600))
    (2133, 4800)
    """
    masked, listed = (bits - n_weights) / VALUE_BITS, bits / (VALUE_BITS + GAP_BITS)
    return min(floor(max(masked, listed)), n_weights)


def gaps(kept: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Places of kept weights as the number of weights between each and the one stored before it.

    Args:
        kept: (weights,), which are kept.

    Returns:
        The gaps, and the places of all weights that are stored: those kept, and every 256th of a longer gap, both
        (stored,).

    Source: relative indices with filler zeros, Han et al. 2016, arXiv:1510.00149, section 2.

    >>> [one.tolist() for one in gaps(np.array([False, True, True, False]))]
    [[1, 0], [1, 2]]
    """
    places = np.flatnonzero(kept)
    distance = np.diff(places, prepend=-1)
    n_fillers = (distance - 1) // _LONGEST  # before each kept one
    nth = np.arange(n_fillers.sum()) - np.repeat(np.cumsum(n_fillers) - n_fillers, n_fillers) + 1
    fillers = np.repeat(places - distance, n_fillers) + _LONGEST * nth
    stored = np.sort(np.concatenate([places, fillers]))
    return (np.diff(stored, prepend=-1) - 1).astype(np.uint8), stored


def places(gaps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Places of the stored weights: the inverse of `gaps`.

    >>> places(np.array([1, 0], np.uint8)).tolist()
    [1, 2]
    """
    return np.cumsum(gaps.astype(np.int64) + 1) - 1
