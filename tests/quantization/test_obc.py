from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lit_privq.quantization import greedy
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import RangeSearch, output_error, quantize_to
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.obc import OBC, obq_rounding

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


def twin_of_a_row(weight: Tensor, gram: Tensor, scale: float, zero: float, levels: int) -> list[int]:
    """The definition: invert what is left of H anew for every weight, pick, set, let the others make up for it."""
    weight, open_ = weight.clone(), list(range(len(weight)))
    codes = [0] * len(weight)
    while open_:
        inverse = torch.linalg.inv(gram[open_][:, open_])
        near = (torch.round(weight[open_] / scale) + zero).clamp(0, levels - 1)
        residual = weight[open_] - scale * (near - zero)
        if (residual.abs() > scale / 2).any():
            pick = int(residual.abs().argmax())
        else:
            pick = int((residual.square() / inverse.diagonal()).argmin())
        codes[open_[pick]] = int(near[pick])
        weight[open_] -= inverse[pick] * residual[pick] / inverse[pick, pick]
        del open_[pick]
    return codes


def agreement(layer: LayerProblem, damping: float) -> tuple[float, float, float]:
    """Share of codes equal to the twin's, and the two output errors."""
    ready = condition(layer, damping)
    affine = RangeSearch().fit(ready.target, layer.levels)
    fast = obq_rounding(ready.target, ready.inverse(), affine, layer.levels)
    slow = torch.tensor(
        [
            [
                twin_of_a_row(
                    ready.target[m, r].double(),
                    ready.gram[m].double(),
                    affine[0][m, r].item(),
                    affine[1][m, r].item(),
                    int(layer.levels[m]),
                )
                for r in range(layer.weight.shape[1])
            ]
            for m in range(layer.weight.shape[0])
        ]
    ).to(fast.codes)
    error, twin_error = (
        output_error(ready.target - affine[0] * (codes - affine[1]), ready.gram).sum() for codes in (fast.codes, slow)
    )
    return float((fast.codes == slow).float().mean()), float(error), float(twin_error)


@pytest.mark.parametrize("levels", [3, 4, 16])
@pytest.mark.parametrize("columns", [10, 64, 90])  # below, at and above what waits for one product
def test_codes_are_those_of_the_slow_obvious_twin_on_damped_problems(
    columns: int, levels: int, make_layer: MakeLayer
) -> None:
    share, _, _ = agreement(make_layer(rows=3, columns=columns, levels=levels), damping=0.01)
    assert share >= 0.99


def test_the_objective_is_the_twins_on_rank_deficient_problems(make_layer: MakeLayer) -> None:
    _, fast, slow = agreement(make_layer(rows=16, columns=60, examples=30), damping=1e-3)
    assert fast == pytest.approx(slow, rel=0.02)


# TrueOBS(rel_damp=0.01).quantize() of github.com/IST-DASLab/OBC at 9b7979b, with Quantizer.configure(bits,
# perchannel=True, sym=False, mse=True); nearest rounding differs from these codes in places.
@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (2, [[2, 3, 2, 1, 3, 3, 1, 1, 3, 2, 0, 3], [2, 0, 0, 2, 2, 0, 1, 3, 1, 0, 1, 3]]),
        (3, [[5, 7, 4, 1, 6, 6, 2, 2, 6, 3, 0, 5], [6, 2, 0, 6, 6, 1, 2, 7, 3, 0, 3, 7]]),
    ],
)
def test_codes_are_those_of_the_original_code(bits: int, codes: list[list[int]], make_unit: MakeUnit) -> None:
    k = torch.arange(24, dtype=torch.float64)
    weight = (torch.sin(1.7 * k + 0.3) + 0.5 * torch.sin(0.37 * k * k)).view(1, 2, 12).float()
    n, i = torch.arange(48, dtype=torch.float64)[:, None], torch.arange(12, dtype=torch.float64)
    inputs = torch.sin(0.9 * i * n + 0.1 * n * n) + 0.6 * torch.cos(0.23 * n)  # (examples, columns)
    layer = LayerProblem("conv", weight, torch.tensor([2**bits]), (2 / 48 * inputs.T @ inputs)[None])
    assert OBC(damping=0.01).solve(make_unit(layer))["conv"].codes[0].int().tolist() == codes


def test_uncorrelated_inputs_make_it_nearest_rounding(make_layer: MakeLayer) -> None:
    layer = make_layer()
    affine = RangeSearch().fit(layer.weight, layer.levels)
    found = obq_rounding(layer.weight, torch.eye(24).expand(2, -1, -1), affine, layer.levels)
    assert torch.equal(found.codes, quantize_to(layer.weight, affine, layer.levels).codes)


def test_two_columns_by_hand() -> None:
    # H = [[2, 1], [1, 1]] and its inverse [[1, -1], [-1, 2]]: both weights are 0.4 above the grid, the costs are
    # 0.16 / 1 and 0.16 / 2, so the second goes first, down to 0, and takes the first along by -0.4 * -1 / 2: to 0.6.
    inverse = torch.tensor([[[1.0, -1.0], [-1.0, 2.0]]])
    one = torch.ones(1, 1, 1)
    found = obq_rounding(torch.tensor([[[0.4, 0.4]]]), inverse, (one, 0 * one), torch.tensor([4]))
    assert found.codes.tolist() == [[[1.0, 0.0]]]


def test_outliers_go_first() -> None:
    # The second weight lies 1.6 above the highest point; set first, it takes the first along by 1.6 * 0.9, to 1.44. By
    # cost alone the first, on the grid already, would be set to 0 for nothing.
    inverse = torch.tensor([[[1.0, -0.9], [-0.9, 1.0]]])
    one = torch.ones(1, 1, 1)
    found = obq_rounding(torch.tensor([[[0.0, 2.6]]]), inverse, (one, 0 * one), torch.tensor([2]))
    assert found.codes.tolist() == [[[1.0, 1.0]]]


def test_rows_in_work_together_do_not_change_the_result(
    make_layer: MakeLayer, make_unit: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_unit(make_layer(columns=70))
    together = OBC().solve(unit)["block.conv"]
    monkeypatch.setattr(greedy, "INVERSE_ELEMENTS", 70 * 70)
    assert torch.equal(OBC().solve(unit)["block.conv"].codes, together.codes)


def test_a_gpu_takes_a_hundred_rows_of_a_wide_layer_where_a_cpu_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 141 * 10**9
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))
    gpu, cpu = (greedy.rows_at_once(4608, torch.device(name)) for name in ("cuda", "cpu"))
    assert (gpu, cpu) == (103, 1)
    assert gpu * 4608**2 * 4 <= memory / 16


def test_quantized_inputs_are_re_targeted(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(shifted=True, levels=16)
    ready = condition(layer, 1e-3)
    aware = OBC(inputs="quantized").solve(make_unit(layer))["block.conv"].weight()
    blind = OBC().solve(make_unit(LayerProblem(layer.name, layer.weight, layer.levels, layer.gram)))
    place = ready.order.unsqueeze(1).expand_as(aware)
    errors = [
        output_error(ready.target - weight.gather(2, place), ready.gram).sum()
        for weight in (aware, blind["block.conv"].weight())
    ]
    assert errors[0] < 0.7 * errors[1]
