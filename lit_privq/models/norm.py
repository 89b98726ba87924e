"""The layer that normalises channels, which every network here takes by name."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Batch norm, or group norm with 16 groups (fewer where 16 does not divide the channels).

    Batch norm mixes the examples of a batch, so that none has a gradient of its own, and its running statistics give
    them away unclipped: DP-SGD needs group norm.

    Raises:
        ValueError: if there is no norm of that name.

    Source: groups as in De et al. 2022, arXiv:2204.13650.

    >>> norm_layer("group", 64).num_groups, norm_layer("group", 24).num_groups
    (16, 8)
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(16, channels), channels)
    raise ValueError(f"norm must be batch or group; got {norm!r}")
