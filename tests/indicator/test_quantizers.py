import pytest
import torch
from torch import Tensor

from lit_privq.indicator.quantizers import Quantizer, compared_quantizers
from lit_privq.quantization.grid import RangeSearch
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.nearest import Nearest

NAMES = list(compared_quantizers())


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0))


def unused(*_: object) -> Tensor:
    raise AssertionError


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_map_is_the_method_on_the_weights_it_was_frozen_at(name: str, weight: Tensor) -> None:
    quantizer = compared_quantizers()[name]
    levels = torch.full((3,), round(2**quantizer.bits))
    unit = UnitProblem("x", {"x": LayerProblem("x", weight, levels)}, (), torch.empty(0), unused, (0, 1, 2))
    solved, frozen = quantizer.method.solve(unit)["x"], quantizer.freeze(weight)
    assert torch.equal(frozen.codes(weight), solved.codes)
    torch.testing.assert_close(frozen.weights(frozen.codes(weight)), solved.weight())


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_scale_does_not_follow_the_weights(name: str, weight: Tensor) -> None:
    frozen = compared_quantizers()[name].freeze(weight)
    values = frozen.weights(frozen.codes(3 * weight))  # (models, rows, columns)
    codebook = frozen.weights(torch.arange(frozen.levels).expand(3, 4, -1))  # (models, rows, levels)
    assert (values[..., None] == codebook[:, :, None]).any(dim=-1).all()


@pytest.mark.parametrize("name", NAMES)
def test_codes_rise_with_the_weights_and_lie_on_the_grid(name: str, weight: Tensor) -> None:
    frozen = compared_quantizers()[name].freeze(weight)
    codes = frozen.codes(torch.linspace(-9, 9, 500).expand(3, 4, -1))
    assert (codes.diff(dim=-1) >= 0).all()
    assert codes.min() == 0
    assert codes.max() == frozen.levels - 1


@pytest.mark.parametrize("name", NAMES)
def test_codes_change_where_positions_cross_a_half(name: str, weight: Tensor) -> None:
    frozen = compared_quantizers()[name].freeze(weight)
    positions = frozen.positions(weight)
    rounded = (positions + 0.5).floor().clamp(0, frozen.levels - 1)
    on_a_cut = ((positions - 0.5) - (positions - 0.5).round()).abs() < 1e-4  # ties and rounding of the division
    assert ((rounded == frozen.codes(weight)) | on_a_cut).all()


@pytest.mark.parametrize("share", [33, 50, 90])
def test_ternary_maps_have_their_sparsity(share: int, weight: Tensor) -> None:
    codes = compared_quantizers()[f"ternary-{share}"].freeze(weight).codes(weight)
    assert (codes == 1).double().mean().item() == pytest.approx(share / 100, abs=0.005)  # whole weights of 200


def test_methods_that_need_data_are_refused(weight: Tensor) -> None:
    with pytest.raises(ValueError, match="Nearest needs calibration data"):
        Quantizer(Nearest(grid=RangeSearch(by_output=True)), 4).freeze(weight)
