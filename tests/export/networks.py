"""Small quantized networks that the tests of both file formats share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lit_privq.api import quantize
from lit_privq.models.small import small_resnet
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.grid import RangeZeroSearch
from lit_privq.quantization.nearest import Nearest

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def quantized(bits: Bits, width: int = 8, grid: Any = None) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    """A small network and its layers as files keep them."""
    torch.manual_seed(0)
    return quantized_from(small_resnet(num_classes=3, width=width), bits, grid)


def quantized_from(
    net: nn.Module, bits: Bits, grid: Any = None, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    """Any network and its layers as files keep them."""
    method = Nearest(grid=grid or RangeZeroSearch())
    small = quantize(net.to(dtype).eval(), IMAGES.to(dtype), method, bits)
    return small.net, small.layers()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def outputs(net: nn.Module) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(net(IMAGES))
