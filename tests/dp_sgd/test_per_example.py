from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lit_privq.dp_sgd import per_example
from lit_privq.dp_sgd.dp_sgd import clipped_sum
from lit_privq.dp_sgd.per_example import layer_gradients, per_example_gradients, watched
from lit_privq.fleet.ways import stack
from lit_privq.models.densenet import dense_network
from lit_privq.models.mlp import perceptron
from lit_privq.models.resnet import resnet18, resnet50
from lit_privq.models.small import small_resnet

SHAPE = (3, 16, 16)
EXAMPLES = 8
NETWORKS = {
    "small_resnet": lambda: small_resnet(5, in_channels=3, width=4, norm="group"),
    "resnet18": lambda: resnet18(5, width=4, norm="group"),
    "resnet50": lambda: resnet50(5, width=4, norm="group"),
    "densenet": lambda: dense_network((2, 2), 5, in_channels=3, growth=4, norm="group"),
    "perceptron": lambda: perceptron(5, in_features=768, hidden=[16]),
    "overwritten": lambda: nn.Sequential(  # the activation writes into the output of the layer
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(784, 5)
    ),
    "shared": lambda: Twice(),
    "scaled": lambda: Scaled(),
}


class Twice(nn.Module):
    """Calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(16, 16), nn.Linear(768, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(torch.tanh(self.layer(x))).flatten(1))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Holds a parameter of its own beside its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.head = nn.Parameter(torch.tensor(2.0)), nn.Linear(768, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(x.flatten(1))  # type: ignore[no-any-return]


def batch(models: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(models, EXAMPLES, *SHAPE, generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (models, EXAMPLES), generator=generator)


def losses(answers: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(answers.flatten(0, -2), labels.flatten(), reduction="sum")


def by_loop(net: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Of each parameter (examples, ...), from one backward pass for each example."""
    found = [
        torch.autograd.grad(losses(net(image[None]), label[None]), list(net.parameters()))
        for image, label in zip(images, labels, strict=True)
    ]
    return [torch.stack(each) for each in zip(*found, strict=True)]


def together(net: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    with watched(net.modules()) as calls:
        loss = losses(net(images), labels)
    found = per_example_gradients(calls, loss)
    return [found[parameter] for parameter in net.parameters()]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float64) for name in NETWORKS),
        *((name, torch.float32) for name in NETWORKS if "resnet1" not in name and "resnet5" not in name),
    ],  # rounding grows with the depth of an untrained network, whatever takes its gradients
)
def test_clipped_gradients_equal_those_of_a_loop_over_eight_examples(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]().to(dtype)
    (images,), (labels,) = batch()
    got, expected = (
        [one.reshape(EXAMPLES, 1, -1) for one in way(net, images.to(dtype), labels)] for way in (together, by_loop)
    )
    norms = torch.cat(expected, dim=2).norm(dim=2)  # (examples, 1)
    clip = float(norms.median())
    assert (norms > clip).any()
    assert (norms < clip).any()
    by_hand = sum(torch.cat(expected, dim=2)[k] * min(1.0, clip / float(norms[k, 0])) for k in range(EXAMPLES))
    assert isinstance(by_hand, Tensor)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    assert (clipped_sum(got, clip) - by_hand).norm() < tolerance * clip * EXAMPLES


@pytest.mark.parametrize("patches", [0, 10**9])  # numbers of a weight for each place, of both ways for convolutions
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), (4, 8, 8)),
        (nn.Conv2d(4, 6, 3, stride=2, bias=False), (4, 9, 7)),
        (nn.Conv2d(4, 8, (1, 3), padding=(0, 2), dilation=2, groups=2), (4, 8, 8)),
        (nn.Conv2d(4, 6, 3, padding="same"), (4, 8, 8)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 8, 8)),
        (nn.Conv1d(4, 6, 3), (4, 8)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 4, 4)),
        (nn.Linear(4, 6), (4,)),
        (nn.Linear(4, 6, bias=False), (3, 4)),
        (nn.GroupNorm(2, 4), (4, 5, 5)),
        (nn.LayerNorm(4), (3, 4)),
        (nn.PReLU(), (4, 5)),
    ],
    ids=str,
)
def test_a_layers_gradients_equal_a_loop(
    layer: nn.Module, shape: Sequence[int], patches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_example, "_PATCHES", patches)
    layer = layer.double()
    inputs = torch.randn(5, *shape, dtype=torch.float64)
    outputs = layer(inputs)
    pull = torch.randn_like(outputs)
    got = layer_gradients(layer, inputs, pull)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    assert list(got) == list(names)
    for k in range(5):
        expected = torch.autograd.grad(layer(inputs[k : k + 1]), parameters, pull[k : k + 1])
        for name, value in zip(names, expected, strict=True):
            torch.testing.assert_close(got[name][k], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("patches", [0, 10**9])
@pytest.mark.parametrize("how", ["grouped", "alone"])
def test_a_fleets_gradients_are_those_of_each_model(how: str, patches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_example, "_PATCHES", patches)
    torch.manual_seed(0)
    nets = [NETWORKS["small_resnet"]().double() for _ in range(3)]
    images, labels = batch(models=3)
    stacked = stack(nets, how, SHAPE)  # type: ignore[arg-type]
    with watched(stacked.modules()) as calls:
        loss = losses(stacked(images), labels)
    found = per_example_gradients(calls, loss)
    for model, net in enumerate(nets):
        if how == "grouped":
            mine = [found[one][:, model] for one in stacked.parts[0].parameters()]
        else:
            mine = [found[one] for one in stacked.parts[model].parameters()]
        for got, expected in zip(mine, by_loop(net, images[model], labels[model]), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_gradients_of_a_frozen_or_unused_layer_are_left_out() -> None:
    net = NETWORKS["small_resnet"]().double()
    net.get_submodule("conv1").requires_grad_(False)
    net.get_submodule("layer1.0").register_module("unused", nn.Linear(2, 2))
    (images,), (labels,) = batch()
    with watched(net.modules()) as calls:
        loss = losses(net(images), labels)
    found = {id(one) for one in per_example_gradients(calls, loss)}
    missing = {name for name, one in net.named_parameters() if id(one) not in found}
    assert missing == {"conv1.weight", "layer1.0.unused.weight", "layer1.0.unused.bias"}


def test_an_empty_batch_has_no_gradients() -> None:
    net = NETWORKS["small_resnet"]()
    with watched(net.modules()) as calls:
        loss = losses(net(torch.zeros(0, *SHAPE)), torch.zeros(0, dtype=torch.int64))
    assert per_example_gradients(calls, loss) == {}


def test_watching_leaves_no_hook_and_no_gradient_behind() -> None:
    net = NETWORKS["small_resnet"]().double()
    (images,), (labels,) = batch()
    together(net, images, labels)
    assert all(not layer._forward_hooks for layer in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_gradients_under_autocast_have_the_parameters_type() -> None:
    net = NETWORKS["small_resnet"]()
    images, labels = (part[0] for part in batch())
    with watched(net.modules()) as calls, torch.autocast("cpu", torch.bfloat16):
        loss = losses(net(images.float()).float(), labels)
    found = per_example_gradients(calls, loss)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    expected = torch.cat([one.flatten() for one in together(copy.deepcopy(net), images.float(), labels)])
    got = torch.cat([found[parameter].flatten() for parameter in net.parameters()])
    assert (got - expected).norm() < 0.1 * expected.norm()  # bfloat16 rounds at 0.4 %, each of some ten layers
