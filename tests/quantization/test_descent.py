from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lit_privq.quantization.descent import Descent, best_start, better, descend, pair_sweep, sweep
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import RangeSearch, RangeZeroSearch, output_error, quantize_to
from lit_privq.quantization.method import LayerProblem, Method, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.solution import Quantized

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


def error_of(layer: LayerProblem, quantized: Quantized, damping: float = 1e-3) -> torch.Tensor:
    """The output error that Descent minimises, (models, rows)."""
    ready = condition(layer, damping)
    weight = quantized.weight().gather(2, ready.order.unsqueeze(1).expand_as(layer.weight))
    return output_error(ready.target - weight, ready.gram).squeeze(2)


def at_levels(layer: LayerProblem, *levels: int) -> LayerProblem:
    """The first model's layer at several precisions."""
    weight, gram = (x[:1].expand(len(levels), -1, -1) for x in (layer.weight, layer.gram) if x is not None)
    return LayerProblem(layer.name, weight, torch.tensor(levels), gram)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_it_is_close_to_the_best_codes_of_all(levels: int, make_layer: MakeLayer) -> None:
    layer = make_layer(models=1, rows=4, columns=6, levels=levels, dtype=torch.float64)
    ready = condition(layer, 0.0)
    affine = RangeZeroSearch().fit(ready.target, layer.levels)
    every = torch.tensor(list(itertools.product(range(levels), repeat=6)), dtype=torch.float64)
    every = every.unsqueeze(1).expand(-1, 4, -1)  # (all codes, rows, columns)
    weight = affine[0] * (every - affine[1])
    least = output_error(ready.target - weight, ready.gram.expand(len(every), -1, -1)).amin(dim=0)  # (rows, 1)
    start = quantize_to(ready.target, affine, layer.levels)
    found = output_error(ready.target - descend(start, ready.target, ready.gram, 30).weight(), ready.gram)[0]
    assert found.sum() < 1.2 * least.sum()  # a local minimum, but of the codebook too


def test_no_sweep_raises_the_error(make_layer: MakeLayer) -> None:
    layer = make_layer(rows=16, columns=70, levels=[3, 16], dtype=torch.float64)
    ready = condition(layer, 1e-3)
    quantized = quantize_to(ready.target, RangeSearch().fit(ready.target, layer.levels), layer.levels)
    errors = [output_error(ready.target - quantized.weight(), ready.gram)]
    for _ in range(6):
        quantized = sweep(quantized, ready.target, ready.gram)
        errors.append(output_error(ready.target - quantized.weight(), ready.gram))
    assert (torch.stack(errors).diff(dim=0) <= 1e-9).all()
    assert errors[-1].sum() < 0.8 * errors[0].sum()


def test_a_sweep_is_exact_coordinate_descent(make_layer: MakeLayer) -> None:
    layer = make_layer(models=1, rows=3, columns=40, dtype=torch.float64)
    ready = condition(layer, 1e-3)
    scale, zero = RangeSearch().fit(ready.target, layer.levels)
    start = quantize_to(ready.target, (scale, zero), layer.levels)
    codes = start.codes.clone()
    for column in range(40):
        tries = codes.expand(4, -1, -1).clone()  # (levels, rows, columns)
        tries[:, :, column] = torch.arange(4.0).unsqueeze(1)
        best = output_error(ready.target - scale * (tries - zero), ready.gram.expand(4, -1, -1)).argmin(dim=0)
        codes[0, :, column] = best[:, 0].to(codes)
    assert torch.equal(sweep(start, ready.target, ready.gram).codes, codes)


@pytest.mark.parametrize(("rows", "columns"), [(1, 9), (3, 4), (6, 24), (8, 100)])
@pytest.mark.parametrize("method", [OBC(inputs="quantized"), Nearest()], ids=["obc", "nearest"])
def test_no_channel_of_a_small_layer_is_worse_than_by(
    method: Method, rows: int, columns: int, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    for seed in range(8 if columns < 100 else 2):
        layer = at_levels(make_layer(rows=rows, columns=columns, seed=seed), 2, 3, 4, 16, 256)
        ours = error_of(layer, Descent().solve(make_unit(layer))[layer.name])
        theirs = error_of(layer, method.solve(make_unit(layer))[layer.name])
        assert (ours <= theirs * (1 + 1e-4)).all()  # the errors are float32 sums


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [2, 3, 4, 16])
@pytest.mark.parametrize("method", [OBC(inputs="quantized"), Nearest()], ids=["obc", "nearest"])
def test_no_layer_is_worse_than_by(
    method: Method, levels: int, seed: int, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = make_layer(columns=136, levels=levels, seed=seed, shifted=seed % 2 == 1, examples=100 if seed > 1 else None)
    ours = error_of(layer, Descent().solve(make_unit(layer))[layer.name]).sum(1)
    theirs = error_of(layer, method.solve(make_unit(layer))[layer.name]).sum(1)
    assert (ours <= theirs * (1 + 1e-4)).all()


def test_it_is_better_than_obc_on_a_layer_of_144_columns(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(models=4, rows=16, columns=144, levels=[2, 3, 4, 16], shifted=True)
    ours = error_of(layer, Descent().solve(make_unit(layer))[layer.name]).sum(1)
    theirs = error_of(layer, OBC(inputs="quantized").solve(make_unit(layer))[layer.name]).sum(1)
    assert (ours < theirs).all()


@pytest.mark.parametrize(("rows", "columns", "seeds"), [(1, 9, 12), (4, 24, 6), (6, 136, 2)])
def test_more_levels_are_never_worse(
    rows: int, columns: int, seeds: int, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    for seed in range(seeds):
        layer = at_levels(make_layer(rows=rows, columns=columns, seed=seed), 2, 3, 4, 8, 16, 256)
        assert (error_of(layer, Descent().solve(make_unit(layer))[layer.name]).sum(1).diff() <= 0).all()


def test_weights_on_a_coarse_grid_stay_exact_on_finer_ones(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(models=5, levels=[3, 4, 8, 16, 256])
    ternary = LayerProblem(layer.name, 0.3 * layer.weight.sign() * (layer.weight.abs() > 0.5), layer.levels, layer.gram)
    one = torch.ones(5, 6, 1)
    before = error_of(ternary, Quantized(torch.zeros_like(ternary.weight), one, 0 * one, layer.levels))
    assert (error_of(ternary, Descent().solve(make_unit(ternary))[layer.name]).sum(1) < 1e-4 * before.sum(1)).all()


def test_no_pair_sweep_raises_the_error(make_layer: MakeLayer) -> None:
    layer = make_layer(rows=16, columns=70, levels=[2, 16], dtype=torch.float64)
    ready = condition(layer, 1e-3)
    start = quantize_to(ready.target, RangeSearch().fit(ready.target, layer.levels), layer.levels)
    single = descend(start, ready.target, ready.gram, 30)
    paired = pair_sweep(single, ready.target, ready.gram)
    before, after = (output_error(ready.target - one.weight(), ready.gram) for one in (single, paired))
    assert (after <= before * (1 + 1e-9)).all()
    assert after.sum() < 0.98 * before.sum()  # where no single code could move any more
    assert (paired.codes >= 0).all()
    assert paired.codes[0].max() == 1
    assert paired.codes[1].max() <= 15


def test_a_pair_moves_where_neither_of_its_codes_would() -> None:
    # Inputs correlate by 0.95, so that errors (1.4, -1.4) of the two weights cost 0.196; one step alone makes it 1.056,
    # steps of both (0.4, -0.4) and 0.016.
    gram, one = torch.tensor([[[1.0, 0.95], [0.95, 1.0]]]), torch.ones(1, 1, 1)
    stuck = Quantized(torch.tensor([[[0.0, 2.0]]]), one, 0 * one, torch.tensor([3]))
    target = torch.tensor([[[1.4, 0.6]]])
    assert torch.equal(sweep(stuck, target, gram).codes, stuck.codes)
    assert pair_sweep(stuck, target, gram).codes.tolist() == [[[1.0, 1.0]]]


def test_a_single_column_has_no_pairs() -> None:
    one = torch.ones(1, 1, 1)
    lone = Quantized(one, one, 0 * one, torch.tensor([3]))
    assert torch.equal(pair_sweep(lone, 1.2 * one, one).codes, one)


def test_every_channel_takes_its_best_start() -> None:
    target, gram, one = torch.tensor([[[1.0], [2.0]]]), torch.ones(1, 1, 1), torch.ones(1, 4, 1)
    both = Quantized(torch.tensor([[[1.0], [1.0], [0.0], [2.0]]]), one, 0 * one, torch.tensor([3]))
    found = best_start(both, target.repeat(1, 2, 1), gram, 2)
    assert torch.equal(found.weight(), target)


def test_a_start_that_is_better_is_kept_per_channel() -> None:
    target, gram, one = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.eye(2)[None], torch.ones(1, 2, 1)
    first = Quantized(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), one, 0 * one, torch.tensor([2]))
    second = Quantized(1 - first.codes, one, 0 * one, torch.tensor([2]))
    assert torch.equal(better(first, second, target, gram).weight(), target)


def test_no_grid_to_start_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one grid"):
        Descent(grids=())


@pytest.mark.parametrize(("levels", "seed"), [(2, 3), (3, 7), (4, 7), (16, 0)])
def test_a_model_of_a_fleet_gets_the_codes_and_grid_that_it_gets_alone(
    levels: int, seed: int, make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    fleet = make_layer(models=6, rows=8, columns=36, levels=levels, shifted=True, seed=seed, examples=60)
    together = Descent().solve(make_unit(fleet))[fleet.name]
    for model in range(6):
        own = slice(model, model + 1)
        alone = replace(
            fleet, weight=fleet.weight[own], levels=fleet.levels[own], gram=fleet.gram[own], cross=fleet.cross[own]
        )
        one = Descent().solve(make_unit(alone))[fleet.name]
        for found, wanted in ((one.codes, together.codes), (one.scale, together.scale), (one.zero, together.zero)):
            assert torch.equal(found[0], wanted[model]), model
