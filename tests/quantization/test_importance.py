from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.graph import Graph
from lit_privq.quantization.importance import output_importance
from tests.quantization.networks import quantize


def test_importance_of_logits_is_the_closed_form_of_a_softmax() -> None:
    """The gradient of log p_y at the logits is 1[y] - p, so its mean square is p (1 - p)."""
    net = nn.Sequential(nn.Linear(2, 3, bias=False)).eval()
    data = torch.ones(20_000, 2)
    graph = Graph(net, data[:1])
    (importance,) = output_importance(graph, graph.pieces("layer"), net, data, seed=0, batch_size=4096).values()
    p = net(data[:1]).softmax(1)[0].detach()
    wanted = p * (1 - p) / (p * (1 - p)).mean()
    torch.testing.assert_close(importance, wanted, rtol=0.05, atol=0)  # 20,000 drawn labels


def importance(net: nn.Module, data: Tensor) -> list[Tensor]:
    graph = Graph(net.eval(), data[:2])
    return list(output_importance(graph, graph.pieces("layer"), net, data, seed=0, batch_size=16).values())


def test_a_value_without_an_axis_of_classes_weighs_as_one_with_it() -> None:
    torch.manual_seed(0)
    values, data = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(20, 4)
    flat = nn.Sequential(*values, nn.Flatten(0))
    for one, other in zip(importance(values, data), importance(flat, data), strict=True):
        torch.testing.assert_close(one, other)


def test_outputs_of_which_no_label_can_be_drawn_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with pytest.raises(ValueError, match=r"Fisher importance needs outputs \(examples, classes\).*got \[12, 5, 3\]"):
        quantize([net], torch.randn(1, 12, 5, 4), BRECQ(iterations=1, fisher=True), [2])
