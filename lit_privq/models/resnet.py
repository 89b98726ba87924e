"""Residual networks for small images. Parameters carry torchvision's names, so weights can be exchanged with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from lit_privq.artifacts.construction import recorded
from lit_privq.models.norm import Norm, norm_layer


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, (batch, inputs, h, w) -> (batch, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = norm_layer(norm, width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = norm_layer(norm, width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Block and shortcut, then the activation."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.downsample(x))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 (which carries the stride), 1x1 and a shortcut; it has 4 * width output channels."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm = "batch") -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=1, bias=False)
        self.bn1 = norm_layer(norm, width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = norm_layer(norm, width)
        self.conv3 = nn.Conv2d(width, outputs, kernel_size=1, bias=False)
        self.bn3 = norm_layer(norm, outputs)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Block and shortcut, then the activation."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.downsample(x))  # type: ignore[no-any-return]


@recorded
def resnet18(
    num_classes: int, in_channels: int = 3, width: int = 64, small_images: bool = True, norm: Norm = "batch"
) -> nn.Module:
    """ResNet-18: four stages of two basic blocks.

    Args:
        num_classes: outputs of the head `fc`.
        in_channels: channels of an image.
        width: channels of the first stage; each later stage has twice as many.
        small_images: for 32x32 and 64x64, a 3x3 stem at full resolution and no max pool (a 64x64 image then costs
            four times a 32x32 one); otherwise the 7x7 stem and max pool for 224x224.
        norm: ``batch``, or ``group`` where examples of a batch must not mix, as in DP-SGD; see `norm_layer`.

    Source: He et al. 2015, arXiv:1512.03385.

    >>> sum(parameter.numel() for parameter in resnet18(num_classes=10).parameters())
    11173962
    """
    return residual_network(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, width, small_images, norm)


@recorded
def resnet50(
    num_classes: int, in_channels: int = 3, width: int = 64, small_images: bool = True, norm: Norm = "batch"
) -> nn.Module:
    """ResNet-50: four stages of 3, 4, 6 and 3 bottleneck blocks; arguments as for `resnet18`.

    Source: He et al. 2015, arXiv:1512.03385; the stride sits in the 3x3 convolution, as torchvision has it.
    """
    return residual_network(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, width, small_images, norm)


def residual_network(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    num_classes: int,
    in_channels: int,
    width: int,
    small_images: bool = True,
    norm: Norm = "batch",
    stem_stride: int = 1,
) -> nn.Sequential:
    """Stem, one stage of blocks per entry of ``depths``, average pool and head; stages after the first halve the map.

    Args:
        block: the block all stages are made of.
        depths: blocks per stage.
        num_classes: outputs of the head `fc`.
        in_channels: channels of an image.
        width: channels of the first stage.
        small_images: see `resnet18`.
        norm: see `resnet18`.
        stem_stride: of a stem for small images, see `small_resnet`.
    """
    parts = _small_stem(in_channels, width, norm, stem_stride) if small_images else _stem(in_channels, width, norm)
    channels = width
    for index, depth in enumerate(depths):
        blocks = []
        for position in range(depth):
            blocks.append(block(channels, width << index, stride=2 if index and not position else 1, norm=norm))
            channels = block.expansion * (width << index)
        parts.append((f"layer{index + 1}", nn.Sequential(*blocks)))
    parts += [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(channels, num_classes))]
    net = nn.Sequential(OrderedDict(parts))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def _small_stem(in_channels: int, width: int, norm: Norm, stride: int) -> list[tuple[str, nn.Module]]:
    """A 3x3 convolution at full resolution, or at stride 2 a 4x4 one at half of it, which weighs all pixels alike."""
    conv = nn.Conv2d(in_channels, width, kernel_size=stride + 2, stride=stride, padding=1, bias=False)
    return [("conv1", conv), ("bn1", norm_layer(norm, width)), ("relu", nn.ReLU())]


def _stem(in_channels: int, width: int, norm: Norm) -> list[tuple[str, nn.Module]]:
    """A 7x7 convolution and a max pool, a quarter of the resolution."""
    conv = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return [("conv1", conv), ("bn1", norm_layer(norm, width)), ("relu", nn.ReLU()), ("maxpool", pool)]


def _shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity where shapes agree, else a 1x1 convolution."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    conv = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(conv, norm_layer(norm, outputs))
