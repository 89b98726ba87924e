"""A battery over ways of stacking and architectures: a stack computes and learns what its networks do alone."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional

from lit_privq.fleet.stack import Stack, Way
from lit_privq.fleet.ways import GroupedStack, stack, stack_bytes
from lit_privq.models.densenet import dense_network
from lit_privq.models.mlp import perceptron
from lit_privq.models.resnet import resnet18
from lit_privq.models.small import small_resnet

CLASSES = 5
SHAPE = (3, 8, 8)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": lambda: small_resnet(CLASSES, in_channels=3, width=4),
    "group norm": lambda: small_resnet(CLASSES, in_channels=3, width=4, norm="group"),
    "resnet18": lambda: resnet18(CLASSES, width=4),
    "densenet": lambda: dense_network((2, 2), CLASSES, in_channels=3, growth=4),
    "perceptron": lambda: perceptron(CLASSES, in_features=3 * 8 * 8, hidden=(16,)),
    "normed perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8, bias=False), nn.BatchNorm1d(8)),
    "groups and bias": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.GELU(), nn.MaxPool2d(2), nn.BatchNorm2d(6, affine=False), nn.Flatten()
    ),
}
WAYS: list[tuple[str, Way]] = [
    *((name, "grouped") for name in NETWORKS if name != "densenet"),
    *((name, "vmap") for name in NETWORKS),
    ("small", "alone"),
]


def networks(name: str, size: int = 3, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    """Networks of one architecture with different weights and statistics."""
    torch.manual_seed(0)
    nets = [NETWORKS[name]().to(dtype) for _ in range(size)]
    for net in nets:
        net(torch.randn(4, *SHAPE, dtype=dtype))
    return nets


def batches(steps: int, size: int = 3, batch: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images (steps, F, batch, ...) and labels (steps, F, batch)."""
    images = torch.randn(steps, size, batch, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return images, torch.randint(CLASSES, (steps, size, batch), generator=torch.Generator().manual_seed(2))


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over models of each model's mean, so that no model feels another."""
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(dim=1).sum()


def sgd(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)


def adam(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.01)


def train_alone(
    nets: Sequence[nn.Module], images: Tensor, labels: Tensor, optimize: Callable[..., torch.optim.Optimizer] = sgd
) -> None:
    for model, net in enumerate(nets):
        optimizer = optimize(list(net.train().parameters()))
        for batch, truth in zip(images[:, model], labels[:, model], strict=True):
            optimizer.zero_grad()
            backward(functional.cross_entropy(net(batch), truth))
            optimizer.step()


def train_stack(
    stacked: Stack, images: Tensor, labels: Tensor, optimize: Callable[..., torch.optim.Optimizer] = sgd
) -> None:
    optimizer = optimize(list(stacked.train().parameters()))
    for batch, truth in zip(images, labels, strict=True):
        optimizer.zero_grad()
        backward(loss_of(stacked(batch), truth))
        optimizer.step()


def assert_states_equal(stacked: Stack, nets: Sequence[nn.Module], tolerance: float) -> None:
    for model, net in enumerate(nets):
        torch.testing.assert_close(stacked.state_dict_of(model), dict(net.state_dict()), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "how"), WAYS)
@pytest.mark.parametrize("training", [True, False])
def test_each_model_answers_as_it_does_alone(name: str, how: Way, training: bool) -> None:
    nets = networks(name)
    stacked = stack(nets, how, SHAPE).train(training)
    images = batches(1)[0][0]  # (F, batch, ...)
    expected = torch.stack([net.train(training)(batch) for net, batch in zip(nets, images, strict=True)])
    torch.testing.assert_close(stacked(images), expected, rtol=1e-10, atol=1e-10)  # float64, another order of sums


@pytest.mark.parametrize(("name", "how"), WAYS)
@pytest.mark.parametrize("models", [None, [0, 2]])
def test_parameters_can_be_replaced_and_get_their_gradients(name: str, how: Way, models: list[int] | None) -> None:
    nets = networks(name)
    stacked, images = stack(nets, how, SHAPE).eval(), batches(1)[0][0]  # (F, batch, ...)
    key = next(key for key, parameter in nets[0].named_parameters() if parameter.ndim > 1)
    other = (2 * stacked.joined(key) + 1).detach().requires_grad_()  # (F, ...)
    chosen = [0, 1, 2] if models is None else models
    answers = stacked(images[chosen], models, {key: other})
    for net, values in zip(nets, other, strict=True):
        net.eval().get_parameter(key).data = values.detach().clone()
    expected = torch.stack([nets[model](images[model]) for model in chosen])
    torch.testing.assert_close(answers, expected, rtol=1e-10, atol=1e-10)  # float64, another order of sums
    (gradient,) = torch.autograd.grad(answers.sum(), other)
    assert [bool(own.any()) for own in gradient] == [model in chosen for model in range(3)]


@pytest.mark.parametrize(("name", "how"), WAYS)
def test_each_model_learns_as_it_does_alone(name: str, how: Way) -> None:
    nets, (images, labels) = networks(name), batches(steps=20)
    stacked = stack(nets, how, SHAPE)
    before = stacked.state_dict_of(0)
    train_alone(nets, images, labels)
    train_stack(stacked, images, labels)
    assert any(not torch.equal(value, before[key]) for key, value in stacked.state_dict_of(0).items())
    # float64 rounds at 1e-16; twenty steps at this rate enlarge it less than a million times
    assert_states_equal(stacked, nets, tolerance=1e-9)


@pytest.mark.parametrize("how", ["grouped", "vmap"])
def test_each_model_learns_as_it_does_alone_in_float32(how: Way) -> None:
    nets, (images, labels) = networks("small", dtype=torch.float32), batches(steps=20, dtype=torch.float32)
    stacked = stack(nets, how, SHAPE)
    train_alone(nets, images, labels)
    train_stack(stacked, images, labels)
    # float32 rounds at 1e-7; enlarged as in float64, with room for the order of sums of other CPUs
    assert_states_equal(stacked, nets, tolerance=1e-3)


@pytest.mark.parametrize("how", ["grouped", "vmap"])
def test_adam_too_steps_each_model_as_alone(how: Way) -> None:
    nets, (images, labels) = networks("small"), batches(steps=10)
    stacked = stack(nets, how, SHAPE)
    train_alone(nets, images, labels, adam)
    train_stack(stacked, images, labels, adam)
    assert_states_equal(stacked, nets, tolerance=1e-7)  # Adam divides by small second moments at first


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_a_ragged_last_batch_trains_each_model_on_all_its_examples(how: Way) -> None:
    nets, (images, labels) = networks("small"), batches(steps=2, batch=5)
    stacked = stack(nets, how, SHAPE)
    optimizer = sgd(list(stacked.train().parameters()))
    backward(loss_of(stacked(images[0]), labels[0]))
    optimizer.step()
    optimizer.zero_grad()
    long, short = [2, 0], [1]  # model 1 has one example fewer
    backward(loss_of(stacked(images[1, long], long), labels[1, long]))
    backward(loss_of(stacked(images[1, short, :4], short), labels[1, short, :4]))
    optimizer.step()
    for model, net in enumerate(nets):
        optimizer = sgd(list(net.train().parameters()))
        for step in range(2):
            batch = 4 if (step, model) == (1, 1) else 5
            optimizer.zero_grad()
            backward(functional.cross_entropy(net(images[step, model, :batch]), labels[step, model, :batch]))
            optimizer.step()
    assert_states_equal(stacked, nets, tolerance=1e-10)


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_a_subset_touches_no_other_model(how: Way) -> None:
    nets = networks("small")
    stacked = stack(nets, how, SHAPE).train()
    before = [stacked.state_dict_of(model) for model in range(3)]
    logits = stacked(batches(1)[0][0, [2, 0]], [2, 0])
    assert logits.shape == (2, 6, CLASSES)
    backward(logits.square().sum())
    for key, value in stacked.state_dict_of(1).items():
        assert torch.equal(value, before[1][key])
    assert not torch.equal(stacked.state_dict_of(2)["bn1.running_mean"], before[2]["bn1.running_mean"])
    if how != "alone":
        gradient = stacked.get_parameter("net.conv1.weight").grad
        assert gradient is not None
        assert gradient.flatten(1).any(dim=1).tolist() == [True, False, True]


@pytest.mark.parametrize("how", ["grouped", "vmap"])
def test_one_forward_call_serves_all_models(how: Way) -> None:
    calls = []
    stacked = stack(networks("small", size=4), how, SHAPE).train()
    stacked.get_submodule("net.conv1").register_forward_hook(lambda *_: calls.append(1))
    images, labels = batches(steps=3, size=4)
    train_stack(stacked, images, labels)
    assert len(calls) == 3


@pytest.mark.parametrize(("name", "how"), WAYS)
def test_state_goes_in_and_out_bit_for_bit(name: str, how: Way) -> None:
    nets = networks(name, dtype=torch.float32)
    stacked = stack(nets, how, SHAPE)
    for model, net in enumerate(nets):
        state, expected = stacked.state_dict_of(model), net.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[key], expected[key]) for key in expected)
        assert all(state[key].dtype == expected[key].dtype for key in expected)


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_a_taken_state_is_a_copy(how: Way) -> None:
    stacked = stack(networks("small"), how, SHAPE)
    for value in stacked.state_dict_of(0).values():
        value.zero_()
    assert stacked.state_dict_of(0)["conv1.weight"].any()


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_stacking_disturbs_neither_the_networks_nor_the_random_numbers(how: Way) -> None:
    nets = networks("small")
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in nets]
    generator = torch.get_rng_state()
    stacked = stack(nets, how, SHAPE)
    assert torch.equal(torch.get_rng_state(), generator)
    train_stack(stacked, *batches(1))
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("how", ["grouped", "vmap", "alone"])
def test_frozen_parameters_and_the_mode_carry_over(how: Way) -> None:
    nets = networks("small")
    for net in nets:
        net.eval().get_parameter("conv1.weight").requires_grad_(False)
    stacked = stack(nets, how, SHAPE)
    frozen = [name for name, parameter in stacked.named_parameters() if not parameter.requires_grad]
    assert all(name.endswith(".conv1.weight") and "layer" not in name for name in frozen)
    assert len(frozen) == (3 if how == "alone" else 1)
    assert not any(layer.training for layer in stacked.modules() if isinstance(layer, nn.BatchNorm2d))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_grouped_stack_keeps_channels_last(size: int, in_channels: int) -> None:
    torch.manual_seed(0)
    layout = torch.channels_last
    nets = [small_resnet(CLASSES, in_channels=in_channels).to(memory_format=layout).eval() for _ in range(size)]
    stacked = stack(nets, "grouped", (in_channels, 8, 8))
    seen = []
    stacked.get_submodule("net.layer1").register_forward_hook(
        lambda _, __, output: seen.append(output.is_contiguous(memory_format=layout))
    )
    images = torch.randn(size, 2, in_channels, 8, 8)
    expected = torch.stack([net(batch) for net, batch in zip(nets, images, strict=True)])
    torch.testing.assert_close(stacked(images), expected, rtol=1e-4, atol=1e-5)  # float32, another order of sums
    assert seen == [True]
    assert stacked.state_dict_of(0)["layer1.0.conv1.weight"].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("how", ["vmap", "alone"])
def test_channels_last_networks_stack_in_the_other_ways(how: Way) -> None:
    nets = [net.to(memory_format=torch.channels_last) for net in networks("small")]
    stacked = stack(nets, how, SHAPE)
    train_stack(stacked, *batches(1))  # torch warns where a batching rule is missing, and warnings are errors


def test_a_grouped_stack_answers_in_bfloat16_as_alone() -> None:
    nets = [net.eval() for net in networks("perceptron", dtype=torch.float32)]
    images = batches(1, dtype=torch.float32)[0][0]
    stacked = stack(nets, "grouped", SHAPE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = stacked(images)
        expected = torch.stack([net(batch) for net, batch in zip(nets, images, strict=True)])
    assert logits.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.02)  # eight bits of mantissa


def test_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one network"):
        stack([], "alone", SHAPE)


@pytest.mark.parametrize("name", ["small", "resnet18", "densenet"])
def test_the_memory_estimate_covers_what_the_backward_pass_keeps(name: str) -> None:
    net = networks(name, dtype=torch.float32)[0]
    images = torch.randn(16, *SHAPE)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = net(images)
    assert logits.requires_grad
    weights = sum(value.nbytes for value in net.state_dict().values())
    activations = stack_bytes(net, images.shape) - 3 * weights
    # an upper estimate, since outputs of batch norm are counted though not kept
    assert sum(kept.values()) <= activations + weights <= 3 * sum(kept.values())


def test_querying_needs_less_memory_than_training() -> None:
    net = resnet18(CLASSES, width=16)
    assert stack_bytes(net, (64, 3, 32, 32), training=False) < stack_bytes(net, (64, 3, 32, 32)) / 3


def test_the_grouped_twins_are_still_the_layers_they_were() -> None:
    stacked = stack(networks("small"), "grouped", SHAPE)
    assert isinstance(stacked, GroupedStack)
    assert isinstance(stacked.net.get_submodule("conv1"), nn.Conv2d)
