from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lit_privq.quantization.grid import (
    AlternatingFit,
    Grid,
    MinMax,
    RangeSearch,
    RangeZeroSearch,
    Widened,
    output_error,
    quantize_to,
    refit,
)
from lit_privq.quantization.method import LayerProblem
from lit_privq.quantization.solution import Quantized, round_to_grid

MakeLayer = Callable[..., LayerProblem]
GRIDS: list[Grid] = [
    MinMax(),
    MinMax(contain_zero=False),
    RangeSearch(),
    RangeSearch(contain_zero=False),
    RangeSearch(by_output=True),
    RangeZeroSearch(),
    RangeZeroSearch(by_output=True),
    AlternatingFit(),
    AlternatingFit(by_output=True),
    Widened(AlternatingFit(), 0.2),
]


def wavy_weight() -> Tensor:
    """Three rows of eight weights without a random generator; the fixtures below were computed on these."""
    k = torch.arange(24, dtype=torch.float64)
    return (torch.sin(1.7 * k + 0.3) + 0.5 * torch.sin(0.37 * k * k)).view(1, 3, 8).float()


def column(*values: float) -> Tensor:
    return torch.tensor(values).view(1, -1, 1)


# Made with UniformAffineQuantizer(bits, channel_wise=True, scale_method="mse") of github.com/yhhhli/BRECQ at e455d62
# (range as given); Quantizer.configure(bits, perchannel=True, sym=False, mse=True) of github.com/IST-DASLab/OBC at
# 9b7979b gives the same numbers on the unshifted rows, all of which contain 0.
@pytest.mark.parametrize(
    ("bits", "shift", "scale", "zero"),
    [
        (2, 0.0, (0.6195637583732605, 0.7158439755439758, 0.7790479063987732), (1, 2, 1)),
        (4, 0.0, (0.13043446838855743, 0.16269181668758392, 0.159160315990448), (7, 8, 6)),
        (2, 1.5, (0.6521722674369812, 0.8134590983390808, 0.8376858830451965), (-1, 0, 0)),
    ],
)
def test_paper_grid_is_the_one_of_the_original_codes(
    bits: int, shift: float, scale: tuple[float, ...], zero: tuple[float, ...]
) -> None:
    found_scale, found_zero = RangeSearch(contain_zero=False).fit(wavy_weight() + shift, torch.tensor([2**bits]))
    torch.testing.assert_close(found_scale, column(*scale), rtol=1e-6, atol=0)  # float32, last place
    assert found_zero.flatten().tolist() == list(zero)


def test_obc_grid_of_all_positive_weights_starts_at_zero() -> None:
    _, zero = RangeSearch(contain_zero=True).fit(wavy_weight().abs() + 1, torch.tensor([4]))
    assert (zero == 0).all()


def test_all_paper_candidates_share_the_zero() -> None:
    weight = wavy_weight()
    assert torch.equal(
        RangeSearch(candidates=1).fit(weight, torch.tensor([4]))[1], RangeSearch().fit(weight, torch.tensor([4]))[1]
    )


def test_minmax_reaches_both_ends() -> None:
    weight = torch.tensor([[[-1.0, 0.4, 2.0]]])
    scale, zero = MinMax().fit(weight, torch.tensor([4]))
    assert (scale.item(), zero.item()) == (1.0, 1.0)
    assert quantize_to(weight, (scale, zero), torch.tensor([4])).weight().tolist() == [[[-1.0, 0.0, 2.0]]]


def test_search_finds_two_opposite_values_at_one_bit() -> None:
    weight = torch.tensor([[[-1.0, -1.0, 1.0, 1.0, -1.0, 1.0]]])
    affine = refit(quantize_to(weight, RangeZeroSearch().fit(weight, torch.tensor([2])), torch.tensor([2])), weight)
    torch.testing.assert_close(affine.weight(), weight)


def test_ternary_weights_stay_exact_at_four_levels() -> None:
    weight = 0.3 * torch.tensor([[[-1.0, 0.0, 1.0, 1.0, 0.0, -1.0, 0.0]]])
    affine = AlternatingFit().fit(weight, torch.tensor([4]))
    torch.testing.assert_close(quantize_to(weight, affine, torch.tensor([4])).weight(), weight)


@pytest.mark.parametrize("zero", [-1.0, 0.0, 1.0, 1.5, 2.25])
def test_rounding_finds_the_nearest_point_of_any_grid(zero: float) -> None:
    weight = torch.linspace(-3, 3, 101).view(1, 1, -1)
    points = 0.7 * (torch.arange(4.0) - zero)  # (levels,)
    found = quantize_to(weight, (column(0.7), column(zero)), torch.tensor([4])).weight()
    best = (weight.unsqueeze(-1) - points).abs().amin(dim=-1)
    torch.testing.assert_close((weight - found).abs(), best, rtol=0, atol=1e-6)


def test_integer_zeros_break_ties_as_the_formula_says() -> None:
    half = torch.tensor([[[0.5, 1.5, -0.5]]])
    assert round_to_grid(half, column(1.0), column(1.0), torch.tensor([4])).tolist() == [[[1.0, 3.0, 1.0]]]


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_grid_of_every_model_and_row_is_its_own(grid: Grid, make_layer: MakeLayer) -> None:
    layer = make_layer(models=3, rows=4, levels=[2, 3, 16])
    scale, zero = grid.fit(layer.weight, layer.levels, layer.gram.float() if layer.gram is not None else None)
    for model, row in itertools.product(range(3), range(4)):
        part = layer.weight[model : model + 1, row : row + 1]
        assert layer.gram is not None
        alone = grid.fit(part, layer.levels[model : model + 1], layer.gram[model : model + 1].float())
        torch.testing.assert_close((scale[model, row], zero[model, row]), (alone[0][0, 0], alone[1][0, 0]))


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("weight", [torch.zeros(1, 2, 5), torch.full((1, 2, 5), 0.7), torch.full((1, 2, 5), -1e-30)])
def test_constant_channels_get_a_usable_grid(grid: Grid, weight: Tensor) -> None:
    quantized = quantize_to(weight, grid.fit(weight, torch.tensor([3]), torch.eye(5)[None]), torch.tensor([3]))
    assert (quantized.scale > 0).all()
    assert torch.isfinite(quantized.weight()).all()


@pytest.mark.parametrize("levels", [2, 3, 4, 16])
def test_search_in_two_dimensions_has_less_weight_error_than_paper(levels: int, make_layer: MakeLayer) -> None:
    layer = make_layer(levels=levels)
    errors = [
        output_error(
            layer.weight - quantize_to(layer.weight, grid.fit(layer.weight, layer.levels), layer.levels).weight()
        )
        for grid in (RangeZeroSearch(), RangeSearch(exponent=2.0))
    ]
    assert errors[0].sum() < errors[1].sum()


@pytest.mark.parametrize("by_output", [False, True])
def test_free_codebook_is_better_than_the_search_it_starts_from(by_output: bool, make_layer: MakeLayer) -> None:
    layer = make_layer(levels=[3, 4])
    assert layer.gram is not None
    gram = layer.gram.float()

    def error(grid: Grid) -> float:
        found = quantize_to(layer.weight, grid.fit(layer.weight, layer.levels, gram), layer.levels)
        return float(output_error(layer.weight - found.weight(), gram if by_output else None).sum())

    search = RangeZeroSearch(by_output=by_output)
    assert error(AlternatingFit(search, by_output=by_output)) < error(search)


def test_choice_by_output_needs_a_gram_matrix() -> None:
    with pytest.raises(ValueError, match="gram matrix"):
        RangeSearch(by_output=True).fit(torch.ones(1, 1, 2), torch.tensor([4]))


def test_widened_grid_is_wider_by_the_steps_and_keeps_its_middle() -> None:
    weight, levels = wavy_weight(), torch.tensor([3])
    (scale, zero), (wide, moved) = (grid.fit(weight, levels) for grid in (RangeSearch(), Widened(RangeSearch(), 0.5)))
    torch.testing.assert_close(2 * wide, 2 * scale + 0.5 * scale)
    torch.testing.assert_close(wide * (1 - moved), scale * (1 - zero))


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("with_gram", [False, True])
def test_refit_is_the_least_squares_solution(offset: bool, with_gram: bool, make_layer: MakeLayer) -> None:
    layer = make_layer(dtype=torch.float64)
    start = quantize_to(layer.weight, RangeSearch().fit(layer.weight, layer.levels), layer.levels)
    found = refit(start, layer.weight, layer.gram if with_gram else None, offset)
    assert layer.gram is not None
    root = torch.linalg.cholesky(layer.gram) if with_gram else torch.eye(24, dtype=torch.float64).expand(2, -1, -1)
    for model, row in itertools.product(range(2), range(6)):
        ones = torch.ones(24, dtype=torch.float64)
        basis = [start.codes[model, row] - start.zero[model, row]] + ([ones] if offset else [])
        design, wanted = root[model].T @ torch.stack(basis, dim=1), root[model].T @ layer.weight[model, row]
        solution = torch.linalg.lstsq(design, wanted.unsqueeze(1)).solution
        torch.testing.assert_close(found.weight()[model, row], (torch.stack(basis, dim=1) @ solution).squeeze(1))


def test_refit_keeps_a_grid_that_the_codes_do_not_determine() -> None:
    constant = Quantized(torch.ones(1, 1, 4), column(0.5), column(1.0), torch.tensor([3]))
    kept = refit(constant, torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0)))
    assert (kept.scale.item(), kept.zero.item()) == (0.5, 1.0)


def test_refit_never_turns_the_scale_negative() -> None:
    backwards = Quantized(torch.tensor([[[2.0, 1.0, 0.0]]]), column(1.0), column(1.0), torch.tensor([3]))
    assert refit(backwards, torch.tensor([[[-1.0, 0.0, 1.0]]])).scale.item() == 1.0


def test_output_error_is_the_squared_error_of_the_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    difference = torch.randn(1, 3, 7, generator=generator, dtype=torch.float64)
    by_hand = (inputs @ difference[0].T).square().sum(dim=0).view(1, 3, 1)
    torch.testing.assert_close(output_error(difference, (inputs.T @ inputs)[None]), by_hand)
