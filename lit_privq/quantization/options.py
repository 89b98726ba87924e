"""Options of methods and grids, checked where they are given."""

from __future__ import annotations

import math


def check_options(*rules: tuple[bool, str, object]) -> None:
    """Refuse the first option that breaks its rule, or is an infinite number.

    Args:
        rules: whether it holds, what must hold, and what was got.

    Raises:
        ValueError: with the rule that is broken.

    >>> check_options((2 >= 1, "ranges must be at least 1", 2))
    """
    for holds, must, got in rules:
        if not holds:
            raise ValueError(f"{must}; got {got}")
        if isinstance(got, float) and math.isinf(got):
            raise ValueError(f"{must}, and finite; got {got}")


def check_inputs(inputs: str) -> None:
    """Refuse a name of inputs that no engine knows."""
    check_options((inputs in ("float", "quantized"), 'inputs must be "float" or "quantized"', repr(inputs)))
