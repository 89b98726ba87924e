from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.sign import BWN, Sign

MakeUnit = Callable[[LayerProblem], UnitProblem]


def layer(levels: int = 2) -> LayerProblem:
    return LayerProblem("fc", torch.tensor([[[-0.3, 0.1, 0.0], [2.0, -1.0, 3.0]]]), torch.tensor([levels]))


def test_sign_knows_no_size(make_unit: MakeUnit) -> None:
    assert Sign().solve(make_unit(layer()))["fc"].weight().tolist() == [[[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]]


def test_scaled_sign_has_the_mean_magnitude_of_each_channel(make_unit: MakeUnit) -> None:
    weight = BWN().solve(make_unit(layer()))["fc"].weight()
    torch.testing.assert_close(weight, torch.tensor([[[-0.4, 0.4, 0.4], [6.0, -6.0, 6.0]]]) / torch.tensor(3.0))


def test_mean_magnitude_is_the_best_of_two_opposite_values(make_unit: MakeUnit) -> None:
    problem = layer()
    best = BWN().solve(make_unit(problem))["fc"].weight()
    error = (problem.weight - best).square().sum(dim=2)
    for factor in (0.9, 1.1):
        assert (error < (problem.weight - factor * best).square().sum(dim=2)).all()


@pytest.mark.parametrize("method", [Sign(), BWN()])
def test_more_than_one_bit_is_refused_with_the_layers_name(method: Sign | BWN, make_unit: MakeUnit) -> None:
    with pytest.raises(ValueError, match=r"layer fc: a sign has 2 levels; got \[4\]"):
        method.solve(make_unit(layer(levels=4)))


def test_zero_weights_give_a_finite_result(make_unit: MakeUnit) -> None:
    zeros = LayerProblem("fc", torch.zeros(1, 1, 3), torch.tensor([2]))
    quantized = BWN().solve(make_unit(zeros))["fc"]
    assert (quantized.scale > 0).all()
    torch.testing.assert_close(quantized.weight(), torch.zeros(1, 1, 3))
