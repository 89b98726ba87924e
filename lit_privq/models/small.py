from __future__ import annotations

from torch import nn

from lit_privq.artifacts.construction import recorded
from lit_privq.models.norm import Norm
from lit_privq.models.resnet import BasicBlock, residual_network


@recorded
def small_resnet(
    num_classes: int, in_channels: int = 1, width: int = 16, stages: int = 2, norm: Norm = "batch"
) -> nn.Module:
    """A small residual network for images of 8x8 (two stages) to 28x28 or 32x32 (three).

    One basic block per stage; each stage after the first halves the map and doubles the channels.

    Args:
        num_classes: outputs of the head `fc`.
        in_channels: channels of an image.
        width: channels of the first stage.
        stages: how many stages.
        norm: ``batch``, or ``group`` where examples of a batch must not mix, as in DP-SGD; see `norm_layer`.

    Raises:
        ValueError: if there is no stage.

    >>> sum(parameter.numel() for parameter in small_resnet(num_classes=10).parameters())
    19706
    """
    if stages < 1:
        raise ValueError(f"stages must be at least 1 (2 suit 8x8 images, 3 suit 28x28); got {stages}")
    return residual_network(BasicBlock, (1,) * stages, num_classes, in_channels, width, norm=norm)
