from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from lit_privq.quantization import greedy
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import output_error
from lit_privq.quantization.magnitude_prune import MagnitudePrune, largest
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.obc_prune import OBCPrune, least_squares, pruning_losses

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


def trace_of_a_row(weight: Tensor, gram: Tensor) -> tuple[list[float], list[Tensor]]:
    """The definition: invert what is left of H anew for every weight; the losses, and the weights after each step."""
    weight, left = weight.clone(), list(range(len(weight)))
    losses, states = list[float](), [weight.clone()]
    while left:
        inverse = torch.linalg.inv(gram[left][:, left])
        scores = weight[left].square() / inverse.diagonal()
        pick = int(scores.argmin())
        weight[left] -= inverse[pick] * weight[left[pick]] / inverse[pick, pick]
        weight[left.pop(pick)] = 0
        losses.append(float(scores[pick]))
        states.append(weight.clone())
    return losses, states


def twin(weight: Tensor, gram: Tensor, n_kept: int) -> Tensor:
    """Of all losses of all rows the least are paid; each row is left as it was after so many steps."""
    traces = [trace_of_a_row(row, gram) for row in weight]
    paid = sorted(loss for losses, _ in traces for loss in losses)[: weight.numel() - n_kept]
    return torch.stack([states[sum(loss <= paid[-1] for loss in losses)] for losses, states in traces])


@pytest.mark.parametrize("columns", [10, 64, 90])  # below, at and above what waits for one product
@pytest.mark.parametrize("levels", [2, 4, 16])
def test_weights_are_those_of_the_slow_obvious_twin(
    levels: int, columns: int, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = make_layer(models=2, rows=4, columns=columns, levels=levels, dtype=torch.float64)
    ready = condition(layer, damping=0.01)
    found = OBCPrune(damping=0.01).solve(make_unit(layer))["block.conv"].weight()
    for model in range(2):
        count = int((found[model] != 0).sum())
        wanted = twin(ready.target[model], ready.gram[model], count)
        place = ready.order[model].expand_as(wanted)
        wanted = torch.empty_like(wanted).scatter_(1, place, wanted)
        assert torch.equal(found[model] != 0, wanted != 0)
        torch.testing.assert_close(found[model], wanted, rtol=1e-3, atol=1e-6)  # stored as float16


# TrueOBS(rel_damp=0.01).prepare_unstr() and prune_unstr() of github.com/IST-DASLab/OBC at 9b7979b.
@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        (6, {1: 1.275292, 10: -2.272450, 12: 2.157242, 15: 1.144521, 21: -2.268453, 23: 2.097836}),
        (4, {10: -2.030993, 12: 2.459962, 21: -1.975753, 23: 2.184646}),
    ],
)
def test_weights_are_those_of_the_original_code(kept: int, wanted: dict[int, float]) -> None:
    k = torch.arange(24, dtype=torch.float64)
    weight = (torch.sin(1.7 * k + 0.3) + 0.5 * torch.sin(0.37 * k * k)).view(1, 2, 12).float()
    n, i = torch.arange(48, dtype=torch.float64)[:, None], torch.arange(12, dtype=torch.float64)
    inputs = torch.sin(0.9 * i * n + 0.1 * n * n) + 0.6 * torch.cos(0.23 * n)  # (examples, columns)
    ready = condition(LayerProblem("conv", weight, torch.tensor([4]), (2 / 48 * inputs.T @ inputs)[None]), 0.01)
    mask = largest(pruning_losses(ready), [Fraction(24 + 16 * kept)])
    found = ready.restored(least_squares(ready.target, ready.gram, mask)).flatten()
    assert found.nonzero().flatten().tolist() == list(wanted)
    assert found[list(wanted)].tolist() == pytest.approx(list(wanted.values()), rel=1e-5)


def test_uncorrelated_inputs_of_equal_power_make_it_magnitude_pruning(
    make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = replace(make_layer(), gram=torch.eye(24, dtype=torch.float64).expand(2, -1, -1))
    found, plain = (method.solve(make_unit(layer))["block.conv"].weight() for method in (OBCPrune(), MagnitudePrune()))
    assert torch.equal(found, plain)


def test_two_columns_by_hand() -> None:
    # H = [[2, 1], [1, 1]], its inverse [[1, -1], [-1, 2]]: the costs are 1 / 1 and 1 / 2. Without the second, the first
    # becomes (H w)_1 / H_11 = 3 / 2.
    target, gram = torch.ones(1, 1, 2), torch.tensor([[[2.0, 1.0], [1.0, 1.0]]])
    assert least_squares(target, gram, torch.tensor([[[True, False]]])).tolist() == [[[1.5, 0.0]]]


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_it_loses_less_than_magnitude_pruning(levels: int, make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(rows=8, columns=60, levels=levels)
    assert layer.gram is not None
    errors = [
        output_error(layer.weight - method.solve(make_unit(layer))["block.conv"].weight(), layer.gram.float()).sum()
        for method in (OBCPrune(), MagnitudePrune())
    ]
    assert errors[0] < 0.8 * errors[1]


def test_precisions_of_one_network_are_those_of_each_by_itself(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    one = make_layer(models=2, levels=4)
    assert one.gram is not None
    many = replace(
        one,
        weight=one.weight.repeat_interleave(2, dim=0),
        gram=one.gram.repeat_interleave(2, dim=0),
        levels=torch.tensor([4, 16, 4, 16]),
    )
    together = OBCPrune().solve(make_unit(many))["block.conv"].weight()
    alone = OBCPrune().solve(make_unit(one))["block.conv"].weight()
    finer = OBCPrune().solve(make_unit(replace(one, levels=torch.tensor([16, 16]))))["block.conv"].weight()
    assert torch.equal(together[::2], alone)
    assert torch.equal(together[1::2], finer)


def test_rows_in_work_together_do_not_change_the_result(
    make_layer: MakeLayer, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_unit(make_layer(columns=70))
    together = OBCPrune().solve(unit)["block.conv"]
    monkeypatch.setattr(greedy, "INVERSE_ELEMENTS", 70 * 70)
    assert torch.equal(OBCPrune().solve(unit)["block.conv"].weight(), together.weight())


def test_quantized_inputs_are_re_targeted(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(shifted=True, levels=16)
    ready = condition(layer, 1e-3)
    aware = OBCPrune(inputs="quantized").solve(make_unit(layer))["block.conv"].weight()
    blind = OBCPrune().solve(make_unit(replace(layer, cross=None)))["block.conv"].weight()
    place = ready.order.unsqueeze(1).expand_as(aware)
    errors = [output_error(ready.target - weight.gather(2, place), ready.gram).sum() for weight in (aware, blind)]
    assert errors[0] < 0.8 * errors[1]


def test_dead_and_rank_deficient_inputs_are_solved(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(rows=8, columns=60, examples=20, levels=[3, 16])
    assert layer.gram is not None
    layer.gram[:, 5], layer.gram[:, :, 5] = 0, 0
    weight = OBCPrune().solve(make_unit(layer))["block.conv"].weight()
    assert weight.isfinite().all()
    assert not weight[:, :, 5].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gram_that_is_not_finite_is_refused_with_the_layers_name(
    value: float, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = make_layer()
    assert layer.gram is not None
    layer.gram[1, 0, 0] = value
    with pytest.raises(ValueError, match=r"layer block\.conv: the gram matrix of model 1 is not finite"):
        OBCPrune().solve(make_unit(layer))
