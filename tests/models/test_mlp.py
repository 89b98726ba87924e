import torch
from torch import nn

from lit_privq.models.mlp import perceptron


def test_without_hidden_layers_it_is_linear() -> None:
    net = perceptron(num_classes=3, in_features=8).double()
    a, b = torch.randn(2, 4, 8, dtype=torch.float64).unbind()
    torch.testing.assert_close(net(a + b) + net(torch.zeros_like(a)), net(a) + net(b))


def test_it_flattens_images() -> None:
    assert perceptron(num_classes=3, in_features=64, hidden=(16, 8))(torch.zeros(5, 1, 8, 8)).shape == (5, 3)


def test_there_is_one_activation_behind_each_hidden_layer() -> None:
    net = perceptron(num_classes=3, in_features=4, hidden=(16, 8))
    assert [type(layer) for layer in net.children()] == [
        *(nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU),
        nn.Linear,
    ]
