"""Training membership as booleans."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_members(members: NDArray[Any]) -> NDArray[np.bool_]:
    """Membership as booleans, from booleans or from the numbers 0 and 1.

    The bitwise complement of an integer is no negation (~1 is -2), so that 0 and 1 would silently pick other examples.

    Args:
        members: any shape, True or 1 where the model trained on the example.

    Returns:
        The same shape, bool; the array itself where it is boolean already.

    Raises:
        ValueError: if there is anything but booleans, 0 and 1.

    >>> as_members(np.array([1, 0], np.uint8))
    array([ True, False])
    """
    members = np.asarray(members)
    if members.dtype == np.bool_:
        return members
    if members.dtype.kind not in "iuf" or not ((members == 0) | (members == 1)).all():
        raise ValueError(
            f"members must be boolean (or 0 and 1), True where the model trained on the example; got {members.dtype}"
            f"{_others(members)}"
        )
    return np.asarray(members == 1)


def _others(members: NDArray[Any]) -> str:
    """The first value that is neither 0 nor 1."""
    if members.dtype.kind not in "iuf":
        return ""
    return f" with the value {members[(members != 0) & (members != 1)].flat[0]}"
