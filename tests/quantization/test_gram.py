from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from lit_privq.quantization.gram import condition, gram, gram_and_cross
from lit_privq.quantization.method import LayerProblem
from lit_privq.quantization.solution import Quantized

MakeLayer = Callable[..., LayerProblem]


def test_columns_come_weakest_first_and_are_put_back(make_layer: MakeLayer) -> None:
    layer = make_layer(dtype=torch.float64)
    ready = condition(layer, damping=0.0)
    power = ready.gram.diagonal(dim1=1, dim2=2)
    assert (power.diff(dim=1) >= 0).all()
    one = torch.ones(2, 6, 1, dtype=torch.float64)
    back = ready.restore(Quantized(ready.target, one, one, layer.levels))
    assert torch.equal(back.codes, layer.weight)


def test_inverse_and_feedback_are_those_of_the_damped_gram(make_layer: MakeLayer) -> None:
    ready = condition(make_layer(dtype=torch.float64), damping=0.01)
    torch.testing.assert_close(ready.inverse() @ ready.gram, torch.eye(24, dtype=torch.float64).expand(2, -1, -1))
    lower = ready.feedback()
    diagonal = ready.cholesky.diagonal(dim1=1, dim2=2).square().diag_embed()
    torch.testing.assert_close(lower @ diagonal @ lower.mT, ready.gram)


def test_damping_is_a_fraction_of_the_mean_diagonal(make_layer: MakeLayer) -> None:
    layer = make_layer(dtype=torch.float64)
    plain, damped = (condition(layer, damping).gram.diagonal(dim1=1, dim2=2) for damping in (0.0, 0.1))
    torch.testing.assert_close(damped - plain, 0.1 * plain.mean(dim=1, keepdim=True).expand_as(plain))


def test_the_target_is_the_best_weight_for_the_inputs_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted_inputs, seen = torch.randn(2, 100, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 3, 8, generator=generator, dtype=torch.float64)
    layer = LayerProblem(
        "fc", weight, torch.tensor([4]), (2 / 100 * seen.T @ seen)[None], (2 / 100 * wanted_inputs.T @ seen)[None]
    )
    ready = condition(layer, damping=0.0)
    best = torch.linalg.lstsq(seen, wanted_inputs @ weight[0].T).solution.T  # (rows, columns)
    torch.testing.assert_close(ready.target[0], best[:, ready.order[0]])


def test_unchanged_inputs_leave_the_target_at_the_weight(make_layer: MakeLayer) -> None:
    layer = make_layer(dtype=torch.float64, examples=5)  # rank-deficient: the damping must not pull it elsewhere
    same = condition(replace(layer, cross=layer.gram), damping=0.01)
    plain = condition(layer, damping=0.01)
    torch.testing.assert_close(same.target, plain.target)


def test_dead_inputs_get_weight_zero_and_no_say(make_layer: MakeLayer) -> None:
    layer = make_layer(shifted=True)
    assert layer.gram is not None
    assert layer.cross is not None
    alive = torch.ones(24)
    alive[[3, 7]] = 0
    dead = replace(layer, gram=layer.gram * alive * alive[:, None], cross=layer.cross * alive)
    ready = condition(dead, damping=0.01)
    assert sorted(ready.order[0, :2].tolist()) == [3, 7]
    assert (ready.target[:, :, :2] == 0).all()
    assert torch.equal(ready.gram[:, :2, :2], torch.eye(2).expand(2, -1, -1))


def test_a_rank_deficient_gram_is_damped_more_and_reported(
    make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ready = condition(make_layer(examples=5), damping=0.0)
    assert torch.isfinite(ready.inverse()).all()
    assert "layer block.conv: the gram matrices of 2 models are rank-deficient" in caplog.text


def test_a_missing_gram_is_an_error_with_the_layers_name(make_layer: MakeLayer) -> None:
    with pytest.raises(ValueError, match=r"layer block\.conv: this method needs a gram matrix"):
        condition(replace(make_layer(), gram=None), damping=0.01)


def test_an_indefinite_gram_is_an_error_with_the_layers_name() -> None:
    with pytest.raises(ValueError, match="layer fc: the gram matrix is not positive definite"):
        condition(
            LayerProblem("fc", torch.ones(1, 1, 2), torch.tensor([4]), torch.tensor([[[1.0, 9e12], [9e12, 1]]])), 0
        )


def test_gram_does_not_depend_on_the_order_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = nn.Conv2d(3, 2, 3), torch.randn(40, 3, 6, 6)
    whole = gram(layer, inputs)
    monkeypatch.setattr("lit_privq.quantization.gram._BLOCK", 3 * 36 * 9 * 7)  # blocks of seven examples
    torch.testing.assert_close(gram(layer, inputs[torch.randperm(40)]), whole, rtol=1e-5, atol=1e-6)  # float32 products


def test_gram_and_cross_by_hand() -> None:
    floats, quantized = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    own, cross = gram_and_cross(nn.Linear(2, 1), floats, torch.stack([quantized, floats]))
    assert own.tolist() == [[[10.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [2.0, 5.0]]]
    assert cross.tolist() == [[[3.0, 0.0], [7.0, 1.0]], [[1.0, 2.0], [2.0, 5.0]]]


def test_gram_without_an_example_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one calibration example"):
        gram(nn.Linear(2, 1), torch.zeros(0, 2))
