from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from lit_privq.models.resnet import resnet18, resnet50

# parameters with ten classes, as published for the form with a 3x3 stem
PARAMETERS = [(resnet18, 11_173_962), (resnet50, 23_520_842)]


@pytest.mark.parametrize(("build", "parameters"), PARAMETERS)
def test_the_small_image_form_has_its_known_number_of_parameters(
    build: Callable[..., nn.Module], parameters: int
) -> None:
    assert sum(parameter.numel() for parameter in build(num_classes=10).parameters()) == parameters


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("small_images", [True, False])
def test_it_computes_what_torchvision_computes_with_the_same_weights(name: str, small_images: bool) -> None:
    ours = {"resnet18": resnet18, "resnet50": resnet50}[name](num_classes=7, small_images=small_images).eval()
    theirs = getattr(torchvision.models, name)(num_classes=7).eval()
    if small_images:
        theirs.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        theirs.maxpool = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # the same float32 operations in the same order
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("side", [32, 64])
def test_any_size_of_image_gives_one_logit_per_class(side: int) -> None:
    net = resnet18(num_classes=5, in_channels=1, width=8)
    assert net(torch.zeros(2, 1, side, side)).shape == (2, 5)


def test_the_last_map_of_a_small_image_is_an_eighth_of_its_side() -> None:
    net = resnet18(num_classes=5, width=8)
    shapes: list[torch.Size] = []
    net.get_submodule("layer4").register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    net(torch.zeros(1, 3, 32, 32).expand(2, -1, -1, -1))
    assert shapes == [(2, 64, 4, 4)]


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_activations_keep_their_size_through_the_depth_at_the_start(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    net = build(num_classes=10, width=16).train()
    logits = net(torch.randn(16, 3, 16, 16))
    # neither died out nor blew up: chance is a loss near ln 10
    assert 0.05 < logits.std().item() < 5


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_fx_traces_every_layer_and_changes_nothing(build: Callable[..., nn.Module]) -> None:
    net = build(num_classes=4, width=8).eval()
    graph = torch.fx.symbolic_trace(net)
    called = {node.target for node in graph.graph.nodes if node.op == "call_module"}
    assert {name for name, module in net.named_modules() if not any(module.children())} <= called
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(graph(images), net(images))
