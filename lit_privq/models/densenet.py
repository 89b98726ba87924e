from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_privq.artifacts.construction import recorded
from lit_privq.models.norm import Norm, norm_layer


class DenseLayer(nn.Module):
    """A bottleneck whose output joins its input, (batch, inputs, h, w) -> (batch, inputs + growth, h, w)."""

    def __init__(self, inputs: int, growth: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, kernel_size=1, bias=False)
        self.norm2 = norm_layer(norm, 4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, kernel_size=3, padding=1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Input and new channels, in this order."""
        y = self.conv1(self.relu(self.norm1(x)))
        y = self.conv2(self.relu(self.norm2(y)))
        return torch.cat([x, y], dim=1)


@recorded
def densenet121(num_classes: int, in_channels: int = 3, growth: int = 32, norm: Norm = "batch") -> nn.Module:
    """DenseNet-121 for 32x32 and 64x64 images: a 3x3 stem at full resolution, no max pool.

    Args:
        num_classes: outputs of the head `fc`.
        in_channels: channels of an image.
        growth: channels each layer adds; the stem has twice as many.
        norm: ``batch``, or ``group`` where examples of a batch must not mix, as in DP-SGD; see `norm_layer`.

    Source: Huang et al. 2016, arXiv:1608.06993 (bottleneck, compression one half).

    >>> sum(parameter.numel() for parameter in densenet121(num_classes=10).parameters())
    6956298
    """
    return dense_network((6, 12, 24, 16), num_classes, in_channels, growth, norm)


def dense_network(
    depths: Sequence[int], num_classes: int, in_channels: int, growth: int, norm: Norm = "batch"
) -> nn.Sequential:
    """Stem, one dense block per entry of ``depths`` with transitions between, average pool and head."""
    channels = 2 * growth
    parts: list[tuple[str, nn.Module]] = [
        ("conv0", nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False))
    ]
    for index, depth in enumerate(depths, start=1):
        if index > 1:
            parts.append((f"transition{index - 1}", _transition(channels, norm)))
            channels //= 2
        layers = [DenseLayer(channels + position * growth, growth, norm) for position in range(depth)]
        parts.append((f"denseblock{index}", nn.Sequential(*layers)))
        channels += depth * growth
    parts += [("norm", norm_layer(norm, channels)), ("relu", nn.ReLU()), ("avgpool", nn.AdaptiveAvgPool2d(1))]
    parts += [("flatten", nn.Flatten()), ("fc", nn.Linear(channels, num_classes))]
    net = nn.Sequential(OrderedDict(parts))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net


def _transition(channels: int, norm: Norm) -> nn.Sequential:
    """Half the channels at half the resolution."""
    conv = nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False)
    parts = [("norm", norm_layer(norm, channels)), ("relu", nn.ReLU()), ("conv", conv), ("pool", nn.AvgPool2d(2))]
    return nn.Sequential(OrderedDict(parts))
