"""Networks and data that tests of the engine share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.method import Method, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer, UnitReport
from lit_privq.quantization.solution import Quantized

SHORT = AdaRound(iterations=30, lr=0.1, linear_target=True)


SHORT_BATCHES = AdaRound(iterations=6, lr=0.3, batch_size=4)


def lively(net: nn.Module, seed: int) -> nn.Module:
    """A network in eval mode whose batch norms have seen something, so that none of them is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight, module.bias, module.running_mean):
                assert value is not None
                value.data = torch.rand(value.shape, generator=generator) + 0.2
    return net.eval()


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return lively(small_resnet(num_classes=3, width=4), seed)


def images(n_models: int, n_examples: int = 12, shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
    return torch.randn(n_models, n_examples, *shape, generator=torch.Generator().manual_seed(9))


def quantize(
    nets: list[nn.Module], data: Tensor, method: Method, bits: list[Bits], batch_size: int = 256
) -> tuple[NetworkQuantizer, list[UnitReport]]:
    quantizer = NetworkQuantizer(nets, data, method, bits, seeds=list(range(len(nets))), batch_size=batch_size)
    return quantizer, [report for _ in quantizer.units for report in quantizer.step()]


class Weird(nn.Module):
    """Residuals, concatenation, groups, shared and functional activations, in-place operations, views by size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.tensor([0.5]))
        self.grouped = nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(4, 4, 1)
        self.right = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, stride=2)
        self.tokens = nn.Linear(4, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n_examples = x.size(0)
        x = self.act(self.stem(x))
        y = self.norm(self.grouped(x))
        one, two = y.chunk(2, dim=1)
        one = one + self.scale * x  # a parameter in a residual
        one.relu_()
        z = torch.cat([self.act(self.left(one)), F.relu(self.right(two), inplace=True)], 1)
        z += y
        z = F.gelu(self.depthwise(self.act(z)))  # (examples, 8, h, w)
        tokens = self.tokens(z.view(n_examples, 2, 4, -1).transpose(2, 3))  # (examples, 2, positions, 4)
        return cast(Tensor, self.head(tokens.mean(2).reshape(n_examples, -1)))


class Free(nn.Module):
    """Any forward over any parts."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.rule = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(self, x)


@dataclass(frozen=True)
class Spy:
    """Another method that also keeps what it was asked."""

    method: Method
    asked: list[UnitProblem] = field(default_factory=list)
    needs_gram: bool = True
    needs_activations: bool = False
    unit: str = "layer"
    inputs: str = "quantized"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        self.asked.append(problem)
        return self.method.solve(problem)


@dataclass(frozen=True)
class Altered(Nearest):
    """Nearest rounding whose solutions are changed before they are handed over."""

    change: Callable[[Quantized], Quantized] = lambda one: one

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        return {name: self.change(one) for name, one in super().solve(problem).items()}


def replace_unit(unit: str) -> Spy:
    return Spy(Nearest(), needs_gram=False, unit=unit)


def refused(net: nn.Module, data: Tensor | None = None) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the callers look at the message)
        quantize([net.eval()], torch.randn(1, 4, 4) if data is None else data, Nearest(), [2])
    return str(error.value)


class Attention(nn.Module):
    """Tokens of a signal, self-attention in a residual, and a head."""

    def __init__(self, batch_first: bool = True, **options: bool) -> None:
        super().__init__()
        self.embed = nn.Conv1d(2, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).transpose(1, 2)  # (examples, tokens, features)
        given = tokens if self.attention.batch_first else tokens.transpose(0, 1)
        mixed, _ = self.attention(given, given, given)
        mixed = mixed if self.attention.batch_first else mixed.transpose(0, 1)
        return cast(Tensor, self.head(self.norm(tokens + mixed).mean(1)))


def kinds() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """A network for each kind of layer, and the shape of one of its inputs."""
    torch.manual_seed(1)
    return {
        "Conv1d": (
            nn.Sequential(
                nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 4, 2, groups=2), nn.Flatten(),
                nn.Linear(28, 3),
            ),
            (2, 8),
        ),
        "ConvTranspose2d": (
            nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), nn.ReLU(),
                nn.ConvTranspose2d(6, 2, 2), nn.Flatten(), nn.Linear(98, 3),
            ),
            (1, 5, 5),
        ),
        "Conv2d, group norm": (small_resnet(num_classes=3, width=4, norm="group"), (1, 8, 8)),
        "Embedding": (Tokens(), (5,)),
        "MultiheadAttention": (Attention(), (2, 8)),
        "MultiheadAttention, tokens first": (Attention(batch_first=False, bias=False), (2, 8)),
    }  # fmt: skip


class Tokens(nn.Module):
    """Floats in [0, 1) as indices of an embedding of 12 tokens, one of which is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(12, 6, padding_idx=0), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(torch.relu(self.embed((x * 12).long().clamp(0, 11))).mean(1)))
