from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from lit_privq.api import quantize
from lit_privq.quantization.grid import RangeZeroSearch, output_error, quantize_to
from lit_privq.quantization.layers import Layer, n_groups, to_matrix
from lit_privq.quantization.qat import QAT, TrainedGrids
from tests.quantization.networks import small

LAYERS: Mapping[str, Layer] = {
    "linear": nn.Linear(9, 5),
    "conv": nn.Conv2d(4, 6, 3, groups=2),
    "up": nn.ConvTranspose2d(4, 6, 2, groups=2),
}
LEVELS = {name: torch.tensor([2, 3, 4, 0]) for name in LAYERS}  # four networks, the last of which stays float


def weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, *layer.weight.shape, generator=generator) for name, layer in LAYERS.items()}


def grids() -> TrainedGrids:
    return TrainedGrids(LAYERS, LEVELS, weights(), RangeZeroSearch())


@pytest.mark.parametrize("name", LAYERS)
def test_a_channel_of_a_rounded_weight_holds_at_most_its_levels(name: str) -> None:
    layer, rounded = LAYERS[name], grids()(weights())[name]
    assert rounded.shape == (4, *layer.weight.shape)
    rows = to_matrix(layer, rounded).unflatten(0, (4, n_groups(layer)))  # (networks, groups, rows, columns)
    for network, most in enumerate((2, 3, 4)):
        assert max(len(row.unique()) for row in rows[network].flatten(0, 1)) <= most


def test_what_stays_float_is_not_rounded() -> None:
    given = weights()
    assert all(torch.equal(rounded[3], given[name][3]) for name, rounded in grids()(given).items())


def test_gradients_pass_straight_through() -> None:
    given = {name: weight.requires_grad_() for name, weight in weights().items()}
    factors = weights(seed=1)
    total = sum(((rounded * factors[name]).sum() for name, rounded in grids()(given).items()), torch.zeros(()))
    total.backward()
    assert all(torch.equal(weight.grad, factors[name]) for name, weight in given.items() if weight.grad is not None)
    assert all(weight.grad is not None for weight in given.values())


def test_grids_follow_the_weights() -> None:
    moved = {name: 3 * weight + 1 for name, weight in weights().items()}
    follows, stays = grids(), grids()
    for _ in range(20):
        follows(moved)
    for name, layer in LAYERS.items():
        matrix, levels = to_matrix(layer, moved[name]), LEVELS[name].repeat_interleave(n_groups(layer))
        quantized = levels > 0
        errors = [
            output_error(
                matrix - quantize_to(matrix, tuple(x.flatten(0, 1) for x in one.affine(name)), levels).weight()
            )[quantized].sum()
            for one in (follows, stays)
        ]
        assert errors[0] < 0.5 * errors[1]


def test_networks_do_not_see_each_other() -> None:
    together, apart, given = grids(), grids(), weights(seed=1)
    other = {name: torch.cat([weight[:1], 100 * weight[1:]]) for name, weight in given.items()}
    first, second = together(given), apart(other)
    assert all(torch.equal(rounded[0], second[name][0]) for name, rounded in first.items())


def test_grids_are_part_of_the_state_of_a_training() -> None:
    trained, resumed = grids(), grids()
    trained(weights(seed=1))
    resumed.load_state_dict(trained.state_dict())
    first, second = (one(weights(seed=2)) for one in (trained, resumed))
    assert all(torch.equal(rounded, second[name]) for name, rounded in first.items())


def test_there_is_nothing_to_train_on_without_labels() -> None:
    with pytest.raises(ValueError, match=r"needs the model's training data and labels, .*; run fit with configs/ptq"):
        quantize(small(0), torch.randn(8, 1, 8, 8), QAT(), bits=2)


def test_its_title_says_where_it_starts() -> None:
    titles = QAT().title, QAT(first_weights="initial", epochs=None, rate=1.0).title
    assert titles == ("Quantization-aware training", "Quantization-aware training from the start")
