import pytest
import torch
import torchvision
from torch import nn

from lit_privq.models.densenet import dense_network, densenet121


def test_the_small_image_form_has_its_known_number_of_parameters() -> None:
    net = densenet121(num_classes=10)
    assert sum(parameter.numel() for parameter in net.parameters()) == 6_956_298


def test_it_has_121_layers_with_weights() -> None:
    layers = [m for m in densenet121(num_classes=10).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 121


def test_it_computes_what_torchvision_computes_with_the_same_weights() -> None:
    ours = densenet121(num_classes=7).eval()
    theirs = torchvision.models.densenet121(num_classes=7).eval()
    theirs.features.conv0 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(theirs.features, name, nn.Identity())
    # both list their layers in the order they run
    weights = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(weights))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # the same float32 operations in the same order
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("side", [32, 64])
def test_any_size_of_image_gives_one_logit_per_class(side: int) -> None:
    assert densenet121(num_classes=5, in_channels=1, growth=4)(torch.zeros(2, 1, side, side)).shape == (2, 5)


def test_fx_traces_it_and_changes_nothing() -> None:
    net = dense_network((2, 3), num_classes=4, in_channels=3, growth=4).eval()
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(torch.fx.symbolic_trace(net)(images), net(images))
