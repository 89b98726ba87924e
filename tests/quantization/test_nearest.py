from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lit_privq.quantization.grid import RangeSearch, RangeZeroSearch, output_error
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.nearest import Nearest, nearest

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


# Provenance of the codes: see test_grid.py; round, add the zero, clamp, as in the original's forward.
@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (2, [[1, 3, 1, 0, 2, 2, 0, 0], [3, 1, 0, 3, 3, 1, 1, 3], [2, 0, 1, 3, 1, 0, 1, 3]]),
        (4, [[9, 15, 7, 0, 11, 12, 3, 2], [11, 6, 0, 11, 14, 5, 2, 15], [12, 1, 4, 15, 7, 0, 6, 15]]),
    ],
)
def test_codes_are_those_of_the_original_code(bits: int, codes: list[list[int]]) -> None:
    k = torch.arange(24, dtype=torch.float64)
    weight = (torch.sin(1.7 * k + 0.3) + 0.5 * torch.sin(0.37 * k * k)).view(1, 3, 8).float()
    found = nearest(weight, torch.tensor([2**bits]), RangeSearch(contain_zero=False))
    assert found.codes[0].int().tolist() == codes


def test_weights_on_the_grid_are_kept() -> None:
    weight = torch.tensor([[[-2.0, 0.0, 1.0, -1.0]]])
    torch.testing.assert_close(nearest(weight, torch.tensor([4]), RangeSearch()).weight(), weight)


def test_three_levels_are_three_values() -> None:
    weight = torch.randn(1, 5, 200, generator=torch.Generator().manual_seed(0))
    assert [len(row.unique()) for row in nearest(weight, torch.tensor([3]), RangeSearch()).weight()[0]] == [3] * 5


def test_refitting_lowers_the_error(make_layer: MakeLayer) -> None:
    layer = make_layer()
    plain, refitted = (nearest(layer.weight, layer.levels, RangeSearch(), refitted=choice) for choice in (False, True))
    assert torch.equal(plain.codes, refitted.codes)
    assert output_error(layer.weight - refitted.weight()).sum() < output_error(layer.weight - plain.weight()).sum()


def test_it_needs_gram_matrices_only_where_its_grid_does(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    assert not Nearest().needs_gram
    by_output = Nearest(grid=RangeZeroSearch(by_output=True))
    assert by_output.needs_gram
    layer = make_layer()
    assert layer.gram is not None
    errors = [
        output_error(layer.weight - method.solve(make_unit(layer))[layer.name].weight(), layer.gram.float()).sum()
        for method in (by_output, Nearest(grid=RangeZeroSearch()))
    ]
    assert errors[0] < errors[1]
