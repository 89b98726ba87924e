from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.ternary import Absmean, SparseTernary, absmean, sparse_ternary

MakeUnit = Callable[[LayerProblem], UnitProblem]


def weight(models: int = 2, rows: int = 10, columns: int = 30) -> torch.Tensor:
    return torch.randn(models, rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sparsity", [0.33, 0.5, 0.9])
def test_the_share_of_zeros_is_the_sparsity(sparsity: float) -> None:
    codes = sparse_ternary(weight(), torch.tensor([3, 3]), sparsity).codes
    assert (codes == 1).flatten(1).float().mean(dim=1).tolist() == pytest.approx([sparsity] * 2)


def test_the_kept_weights_are_the_largest_and_keep_their_sign() -> None:
    values = weight(models=1)
    quantized = sparse_ternary(values, torch.tensor([3]), 0.5).weight()
    kept = quantized != 0
    assert values[kept].abs().min() >= values[~kept].abs().max()
    assert torch.equal(quantized[kept].sign(), values[kept].sign())
    torch.testing.assert_close(quantized[kept].abs(), values[kept].abs().mean().expand(int(kept.sum())))


def test_no_sparsity_is_the_scaled_sign_of_the_layer() -> None:
    values = weight(models=1)
    torch.testing.assert_close(
        sparse_ternary(values, torch.tensor([3]), 0.0).weight(), values.sign() * values.abs().mean()
    )


def test_absmean_by_hand() -> None:
    quantized = absmean(torch.tensor([[[-3.0, 0.4], [0.1, 0.5]]]), torch.tensor([3]))  # mean magnitude 1
    assert quantized.weight().tolist() == [[[-1.0, 0.0], [0.0, 0.0]]]


def test_all_channels_share_one_scale() -> None:
    for quantized in (absmean(weight(), torch.tensor([3, 3])), sparse_ternary(weight(), torch.tensor([3, 3]), 0.5)):
        assert (quantized.scale == quantized.scale[:, :1]).all()


@pytest.mark.parametrize("method", [Absmean(), SparseTernary()])
def test_two_levels_are_refused_with_the_layers_name(method: Absmean | SparseTernary, make_unit: MakeUnit) -> None:
    with pytest.raises(ValueError, match="layer fc: ternary weights need 3 levels; got 2"):
        method.solve(make_unit(LayerProblem("fc", torch.ones(1, 1, 2), torch.tensor([2]))))


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 50])
def test_sparsity_is_a_fraction(sparsity: float) -> None:
    with pytest.raises(ValueError, match="sparsity must be a fraction"):
        SparseTernary(sparsity)
