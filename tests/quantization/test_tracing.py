from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import cast

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.layers import modules_of
from lit_privq.quantization.method import Method
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.tracing import drop_unused, ends, run_all, trace
from tests.quantization.networks import quantize, refused


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(x) if x.sum() > 0 else self.fc(-x))


def test_a_network_that_is_one_layer_is_told_to_give_it_a_name() -> None:
    assert "the network is a Linear itself" in refused(nn.Linear(4, 2))


def test_a_network_that_branches_on_values_is_refused() -> None:
    assert "Branching cannot be traced by torch.fx" in refused(Branching())


class Pair(nn.Module):
    """Two layers, and a forward of a test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)


class Keyword(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.b(input=torch.relu(self.a(x))))


class Optional(Pair):
    def forward(
        self, x: Tensor, mask: Tensor | None = None, *more: Tensor, flag: bool = False, **rest: Tensor
    ) -> Tensor:
        hidden = torch.relu(self.a(x))
        if mask is not None:
            hidden = hidden * mask
        for one in (*more, *rest.values()):
            hidden = hidden + one
        return hidden if flag else cast(Tensor, self.b(hidden))


class Starred(Pair):
    def forward(self, *inputs: Tensor) -> Tensor:
        return cast(Tensor, self.b(torch.relu(self.a(inputs[0]))))


class Constant(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.b(torch.relu(self.a(x)) * torch.tensor([2.0])))


class TwoNames(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.alias = self.a

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.b(torch.relu(self.alias(x))))


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return Keyword()


@pytest.mark.parametrize("make", [Keyword, Optional, Starred, Constant, TwoNames, in_inference_mode])
@pytest.mark.parametrize("method", [OBC(), BRECQ(iterations=3, fisher=True)], ids=["obc", "brecq"])
def test_ordinary_networks_are_quantized_as_a_fleet_and_stay_as_they_are(
    make: Callable[[], nn.Module], method: Method
) -> None:
    nets = [make().eval() for _ in range(2)]
    before = [(list(vars(net)), copy.deepcopy(net.state_dict())) for net in nets]
    data = torch.randn(2, 16, 6)
    quantizer, reports = quantize(nets, data, method, [4])
    for model, net in enumerate(nets):
        assert sorted(quantizer.codes(model, 0)) == ["a", "b"]
        with torch.no_grad():
            wanted, got = net(data[model]), quantizer.network(model, 0)(data[model])
        error = float((wanted - got).square().sum() / wanted.square().sum())
        assert reports[-2 + model].error == pytest.approx(error, rel=1e-4)
        names, state = before[model]
        assert list(vars(net)) == names
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_images_made_in_inference_mode_are_taken() -> None:
    with torch.inference_mode():
        data = torch.randn(1, 16, 6)
    assert len(quantize([Keyword().eval()], data, AdaRound(iterations=3), [4])[1]) == 2


class Needy(Pair):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return cast(Tensor, self.b(self.a(x) * mask))


class OnShape(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        if x.shape[1] > 9:
            hidden = torch.relu(hidden)
        return cast(Tensor, self.b(hidden))


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.Linear(6, 3)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.DataParallel(Keyword()), "the network is a DataParallel.* give the network inside"),
        (lambda: torch.compile(Keyword()), "a compiled network; give the one that torch.compile was called with"),
        (scripted, "a scripted network, whose Python code is gone"),
        (lambda: nn.Sequential(scripted(), nn.Linear(3, 2)), "^0 is a RecursiveScriptModule, a scripted network"),
        (Needy, "must take exactly one tensor; forward also needs mask"),
        (OnShape, r'"if x.shape\[1\] > 9:" \(line \d+ of test_tracing.py\) decides by a value or a shape'),
    ],
    ids=["parallel", "compiled", "scripted", "scripted inside", "two tensors", "shape"],
)
def test_what_no_tracer_follows_is_refused_for_the_true_reason(make: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        trace(make().eval())


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", ["no", "floats", "booleans", "per head", "padding"])
def test_attention_from_its_parts_is_the_attention_of_torch(batch_first: bool, masked: str) -> None:
    torch.manual_seed(0)
    n_tokens = 4
    causal = torch.ones(n_tokens, n_tokens).triu(1).bool()
    options = {
        "no": {},
        "floats": {"attn_mask": torch.randn(n_tokens, n_tokens)},
        "booleans": {"attn_mask": causal, "need_weights": False},
        "per head": {"attn_mask": torch.randn(3 * 2, n_tokens, n_tokens), "average_attn_weights": False},
        "padding": {"key_padding_mask": torch.tensor([[False, False, False, True]]).expand(3, -1)},
    }[masked]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first)
            self.attention.in_proj_bias.data.normal_()

        def forward(self, x: Tensor) -> Tensor:
            tokens = x if batch_first else x.transpose(0, 1)
            mixed, weights = self.attention(tokens, tokens, tokens, **options)
            mixed = mixed if batch_first else mixed.transpose(0, 1)
            return mixed if weights is None else torch.cat([mixed.flatten(1), weights.flatten(1)], 1)

    net, data = Net().eval(), torch.randn(3, n_tokens, 6)
    graph, root = trace(net)
    drop_unused(graph)
    nodes = list(graph.nodes)
    values = run_all(nodes, {**modules_of(net), "": root}, data)
    with torch.no_grad():
        torch.testing.assert_close(values[ends(graph)[1]], net(data))


def test_a_fleet_of_vision_transformers_is_quantized_layer_by_layer_and_block_by_block() -> None:
    def vit(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return torchvision.models.VisionTransformer(8, 4, 1, 2, 8, 16, num_classes=3).eval()

    data, block = torch.randn(2, 8, 3, 8, 8), "encoder.layers.encoder_layer_0"
    for method, units in (
        (
            OBC(),
            [f"{block}.self_attention.in_proj", f"{block}.self_attention.out_proj", f"{block}.mlp.0", f"{block}.mlp.3"],
        ),
        (BRECQ(iterations=2), [f"{block}.self_attention", f"{block}.mlp"]),
    ):
        quantizer, _ = quantize([vit(0), vit(1)], data, method, [2])
        assert quantizer.units == ("conv_proj", *units, "heads.head")
        state = quantizer.network(1, 0).state_dict()
        rows = state[f"{block}.self_attention.in_proj_weight"]
        assert max(len(row.unique()) for row in rows) <= 4
