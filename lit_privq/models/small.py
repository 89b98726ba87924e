from __future__ import annotations

from torch import nn

from lit_privq.artifacts.construction import recorded
from lit_privq.models.norm import Norm
from lit_privq.models.resnet import BasicBlock, residual_network


@recorded
def small_resnet(
    num_classes: int,
    in_channels: int = 1,
    width: int = 16,
    stages: int = 2,
    norm: Norm = "batch",
    stem_stride: int = 1,
) -> nn.Module:
    """A small residual network for images of 8x8 (two stages) to 28x28 or 32x32 (three).

    One basic block per stage; each stage after the first halves the map and doubles the channels.

    Args:
        num_classes: outputs of the head `fc`.
        in_channels: channels of an image.
        width: channels of the first stage.
        stages: how many stages.
        norm: ``batch``, or ``group`` where examples of a batch must not mix, as in DP-SGD; see `norm_layer`.
        stem_stride: 2 to compute at half the resolution, a quarter of the time; better than images made smaller.

    Raises:
        ValueError: if there is no stage, or the stem's stride is neither 1 nor 2.

    >>> sum(parameter.numel() for parameter in small_resnet(num_classes=10).parameters())
    19706
    """
    if stages < 1:
        raise ValueError(f"stages must be at least 1 (2 suit 8x8 images, 3 suit 28x28); got {stages}")
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1, or 2 for half the resolution; got {stem_stride}")
    blocks = (1,) * stages
    return residual_network(BasicBlock, blocks, num_classes, in_channels, width, norm=norm, stem_stride=stem_stride)
