from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lit_privq.artifacts.construction import recorded


@recorded
def perceptron(num_classes: int, in_features: int, hidden: Sequence[int] = ()) -> nn.Module:
    """A multilayer perceptron on flattened inputs; without hidden layers, a linear head.

    Args:
        num_classes: outputs of the head `fc`.
        in_features: numbers in one input, such as 64 for an 8x8 image.
        hidden: units of each hidden layer.

    >>> list(dict(perceptron(num_classes=10, in_features=64, hidden=[32]).named_parameters()))
    ['linear1.weight', 'linear1.bias', 'fc.weight', 'fc.bias']
    """
    parts: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    features = in_features
    for index, units in enumerate(hidden, start=1):
        parts += [(f"linear{index}", nn.Linear(features, units)), (f"relu{index}", nn.ReLU())]
        features = units
    return nn.Sequential(OrderedDict([*parts, ("fc", nn.Linear(features, num_classes))]))
