from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.api import quantize
from lit_privq.quantization.adaround import (
    AdaRound,
    BatchLoss,
    BestRounding,
    GramLoss,
    Rounding,
    Schedule,
    from_solution,
    from_weight,
    rectified_sigmoid,
)
from lit_privq.quantization.descent import Descent
from lit_privq.quantization.grid import MinMax, RangeSearch
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.solution import Quantized

SHORT = AdaRound(iterations=300, lr=0.1, batch_size=16)


def linear_unit(n_models: int = 3, levels: int = 3, examples: int = 64, seed: int = 0) -> UnitProblem:
    """A linear layer whose inputs are correlated, so that rounding each weight on its own is not best."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n_models, 6, 24, generator=generator) / 5
    mix = torch.randn(n_models, 24, 24, generator=generator) * torch.logspace(0, -1, 24).unsqueeze(1)
    inputs = torch.randn(n_models, examples, 24, generator=generator) @ mix  # (models, examples, columns)
    gram = 2 / examples * inputs.mT @ inputs
    layer = LayerProblem("fc", weight, torch.full((n_models,), levels), gram, gram)
    return UnitProblem(
        name="fc",
        layers={"fc": layer},
        inputs=(inputs,),
        target=inputs @ weight.mT,
        forward=lambda weights, batch: batch[0] @ weights["fc"].mT,
        seeds=tuple(range(n_models)),
    )


def error(problem: UnitProblem, solution: dict[str, Quantized]) -> Tensor:
    """Mean squared error of the output per model."""
    output = problem.forward({"fc": solution["fc"].weight()}, problem.inputs)
    return (output - problem.target).square().sum(2).mean(1)


def one_model(problem: UnitProblem, model: int) -> UnitProblem:
    own = slice(model, model + 1)
    layer = problem.layers["fc"]
    assert layer.gram is not None
    assert layer.cross is not None
    alone = LayerProblem("fc", layer.weight[own], layer.levels[own], layer.gram[own], layer.cross[own])
    return replace(
        problem,
        layers={"fc": alone},
        inputs=(problem.inputs[0][own],),
        target=problem.target[own],
        seeds=(problem.seeds[model],),
    )


# ------------------------------------------------------------------------------------- as defined


def test_initial_values_reproduce_the_float_weight_and_match_their_formula_by_hand() -> None:
    weight = torch.tensor([[[-1.0, 0.3, 0.0, 3.0]]])  # the grid is -1, 0, 1, 2, 3 minus one: scale 4/3, zero 1
    layer = LayerProblem("fc", weight, torch.tensor([4]))
    rounding, alpha = from_weight(layer, MinMax())
    assert rounding.base.scale.item() == pytest.approx(4 / 3, abs=1e-6)
    fractions = [0.25, 0.225, 0.0, 0.25]  # of w / s + 1 = 0.25, 1.225, 1, 3.25
    by_hand = [-math.log(1.2 / (fraction + 0.1) - 1) for fraction in fractions]
    assert alpha.flatten().tolist() == pytest.approx(by_hand, abs=1e-6)
    relaxed = rounding.weight(alpha).flatten().tolist()
    assert relaxed == pytest.approx([-1.0, 0.3, 0.0, 4 / 3 * 2], abs=1e-6)  # the last is clipped to the grid


def test_rectified_sigmoid_by_hand() -> None:
    values = rectified_sigmoid(torch.tensor([-3.0, 0.0, 1.0, 3.0])).tolist()
    assert values == pytest.approx([0.0, 0.5, 1.2 / (1 + math.exp(-1)) - 0.1, 1.0], abs=1e-6)


def test_the_published_schedule_falls_linearly_from_20_to_2_after_4000_iterations() -> None:
    schedule = Schedule(20_000, 0.2, 20.0, 2.0)
    assert [schedule.exponent(t) for t in (1, 3999)] == [None, None]
    assert [schedule.exponent(t) for t in (4000, 12_000, 16_000, 20_000)] == pytest.approx([20, 11, 6.5, 2], abs=1e-9)


def test_the_rounding_term_by_hand() -> None:
    rounding = Rounding(
        Quantized(torch.zeros(1, 1, 3), torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([2])), 0
    )
    alpha = torch.logit((torch.tensor([[[0.5, 0.75, 1.0]]]) + 0.1) / 1.2)  # h = 1/2, 3/4, 1
    assert float(rounding.indecision(alpha, 2.0)) == pytest.approx(1.0 + 0.75, abs=1e-6)
    assert float(rounding.indecision(alpha, 20.0)) == pytest.approx(2.0 - 0.5**20, abs=1e-6)


def test_the_batch_loss_sums_over_channels_and_averages_over_examples_and_positions() -> None:
    problem = UnitProblem(
        name="conv",
        layers={},
        inputs=(torch.tensor([[1.0, 3.0]]).view(1, 2, 1, 1, 1),),  # (models, examples, 1, 1, 1)
        target=torch.zeros(1, 2, 2, 1, 3),
        forward=lambda weights, batch: batch[0].expand(-1, -1, 2, 1, 3),  # two channels, three positions
        seeds=(0,),
    )
    assert BatchLoss(problem, 2)({}).tolist() == pytest.approx([2 * (1 + 9) / 2])


def test_the_batch_loss_sums_over_channels_that_come_last_and_averages_over_tokens() -> None:
    problem = UnitProblem(
        name="fc",
        layers={},
        inputs=(torch.tensor([[1.0, 3.0]]).view(1, 2, 1, 1),),  # (models, examples, 1, 1)
        target=torch.zeros(1, 2, 5, 3),
        forward=lambda weights, batch: batch[0].expand(-1, -1, 5, 3),  # five tokens, three channels
        seeds=(0,),
        channel_axis=3,
    )
    assert BatchLoss(problem, 2)({}).tolist() == pytest.approx([3 * (1 + 9) / 2])


class Keeping(AdaRound):
    """AdaRound that keeps the problems it was given."""

    problems: ClassVar[list[UnitProblem]] = []

    @property
    def needs_gram(self) -> bool:
        return True

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        self.problems.append(problem)
        return super().solve(problem)


class Tokens(nn.Module):
    """A linear layer on tokens, a convolution, and a linear layer whose channels are then moved to the front."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(1, 6, 2, 2), nn.Linear(6, 6)
        self.wide, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)  # (examples, 16, 6)
        return cast(Tensor, self.head(self.wide(tokens + self.mix(tokens)).mean(1)))


def test_the_loss_of_a_layer_on_tokens_is_the_one_that_its_gram_matrix_gives() -> None:
    torch.manual_seed(0)
    Keeping.problems.clear()
    quantize(Tokens().eval(), torch.randn(32, 1, 8, 8), Keeping(iterations=1, inputs="float"), bits=2)
    axes = {problem.name: problem.channel_axis for problem in Keeping.problems}
    assert axes == {"patches": 2, "mix": 3, "wide": 3, "head": 2}
    for problem in Keeping.problems:
        (name,) = problem.layers
        first, second = ({name: torch.randn_like(problem.layers[name].weight)} for _ in range(2))
        linear, batches = GramLoss(problem), BatchLoss(problem, 32)
        torch.testing.assert_close(
            batches.exact(first) - batches.exact(second),
            linear.exact(first) - linear.exact(second),
            rtol=1e-3,
            atol=1e-3,
        )  # float32 sums


def test_the_linear_loss_has_the_gradient_and_the_differences_of_the_batch_loss() -> None:
    problem, generator = linear_unit(), torch.Generator().manual_seed(5)
    first, second = (torch.randn(3, 6, 24, generator=generator).requires_grad_() for _ in range(2))
    linear, batches = GramLoss(problem), BatchLoss(problem, 64)
    (got,) = torch.autograd.grad(linear({"fc": first}).sum(), first)
    (wanted,) = torch.autograd.grad(batches({"fc": first}).sum(), first)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)  # float32 sums over 64 examples
    torch.testing.assert_close(
        linear.exact({"fc": first}) - linear.exact({"fc": second}),
        batches.exact({"fc": first}) - batches.exact({"fc": second}),
        rtol=1e-4,
        atol=1e-3,
    )


def test_clipped_weights_get_no_gradient() -> None:
    layer = LayerProblem("fc", torch.tensor([[[-5.0, 0.3, 0.6, 9.0]]]), torch.tensor([3]))
    base = Quantized((layer.weight + 1).floor(), torch.ones(1, 1, 1), torch.ones(1, 1, 1), layer.levels)
    alpha = torch.zeros(1, 1, 4, requires_grad=True)
    Rounding(base, 0).weight(alpha).sum().backward()
    assert alpha.grad is not None
    assert (alpha.grad.flatten() != 0).tolist() == [False, True, True, False]


# ------------------------------------------------------------------------------------- as the original code computes


ORIGINAL = json.loads((Path(__file__).parent / "fixtures/brecq.json").read_text(encoding="utf-8"))
original_case = pytest.mark.parametrize("case", ORIGINAL["cases"], ids=lambda case: f"{case['bits']} bits")
AS_ORIGINAL = AdaRound(iterations=400, lr=0.02, batch_size=20)
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-6}


def original_unit(bits: int) -> UnitProblem:
    """The layer that the fixture says, in float64."""

    def wave(count: int, slow: float, fast: float) -> Tensor:
        k = torch.arange(count, dtype=torch.float64)
        return torch.sin(slow * k + 0.3) + 0.5 * torch.sin(fast * k * k)

    weight, inputs = wave(36, 1.7, 0.37).view(1, 3, 12) / 2, wave(240, 0.61, 0.011).view(1, 20, 12)
    inputs = inputs + 0.7 * inputs.roll(1, 2)
    layer = LayerProblem("fc", weight, torch.tensor([2**bits]))

    def forward(weights: Mapping[str, Tensor], batch: tuple[Tensor, ...]) -> Tensor:
        return (batch[0] @ weights["fc"].mT).relu()

    return UnitProblem("fc", {"fc": layer}, (inputs,), forward({"fc": weight}, (inputs,)), forward, (0,))


def test_the_exponent_is_the_originals() -> None:
    schedule = Schedule(20_000, 0.2, 20.0, 2.0)
    for iteration, exponent in ORIGINAL["exponent"].items():
        assert schedule.exponent(int(iteration)) == pytest.approx(exponent, abs=1e-6)


@original_case
def test_scale_zero_and_initial_values_are_the_originals(case: dict[str, Any]) -> None:
    rounding, alpha = from_weight(original_unit(case["bits"]).layers["fc"], RangeSearch(contain_zero=False))
    for found, wanted in ((rounding.base.scale, "scale"), (rounding.base.zero, "zero"), (alpha, "first_alpha")):
        torch.testing.assert_close(found, torch.tensor(case[wanted], dtype=torch.float64).view_as(found), **EXACT)


@original_case
@pytest.mark.parametrize("when", ["first", "last"])
def test_the_loss_is_the_originals_at_every_stage(when: str, case: dict[str, Any]) -> None:
    problem, schedule = original_unit(case["bits"]), Schedule(400, 0.2, 20.0, 2.0)
    rounding, _ = from_weight(problem.layers["fc"], RangeSearch(contain_zero=False))
    alpha = torch.tensor([case[f"{when}_alpha"]], dtype=torch.float64)
    error = float(BatchLoss(problem, 20)({"fc": rounding.weight(alpha)}))
    for iteration, wanted in case[f"loss_at_{when}"].items():
        exponent = schedule.exponent(int(iteration))
        indecision = 0.0 if exponent is None else float(rounding.indecision(alpha, exponent))
        assert error + 0.01 * indecision == pytest.approx(wanted, abs=1e-6)


@original_case
def test_learned_codes_are_the_originals_after_as_many_steps(case: dict[str, Any]) -> None:
    problem = original_unit(case["bits"])
    assert case["codes"] != case["nearest"]
    assert Nearest(grid=RangeSearch(contain_zero=False)).solve(problem)["fc"].codes[0].int().tolist() == case["nearest"]
    assert AS_ORIGINAL.solve(problem)["fc"].codes[0].int().tolist() == case["codes"]


# ------------------------------------------------------------------------------------- as claimed


@pytest.mark.parametrize("linear_target", [True, False])
@pytest.mark.parametrize("levels", [3, 4, 16])
def test_learned_rounding_flips_codes_and_errs_less_than_nearest(linear_target: bool, levels: int) -> None:
    problem = linear_unit(levels=levels)
    solution = replace(SHORT, linear_target=linear_target).solve(problem)
    nearest = Nearest(grid=RangeSearch(contain_zero=False)).solve(problem)
    assert (error(problem, solution) < 0.8 * error(problem, nearest)).all()
    assert (solution["fc"].codes != nearest["fc"].codes).any(dim=2).any(dim=1).all()
    assert torch.equal(solution["fc"].scale, nearest["fc"].scale)


def test_each_code_is_the_weight_rounded_down_or_up_unless_clipped() -> None:
    problem = linear_unit(levels=3)
    solution = replace(SHORT, linear_target=True).solve(problem)["fc"]
    wanted = (problem.layers["fc"].weight / solution.scale + solution.zero).clamp(0, 2)
    assert ((solution.codes == wanted.floor()) | (solution.codes == wanted.ceil())).all()


def test_a_few_iterations_at_the_published_rate_are_nearest_rounding_under_another_name() -> None:
    problem = linear_unit()
    solution = AdaRound(iterations=50, batch_size=16).solve(problem)["fc"].codes
    nearest = Nearest(grid=RangeSearch(contain_zero=False)).solve(problem)["fc"].codes
    assert (solution == nearest).double().mean() > 0.9


@pytest.mark.parametrize("linear_target", [True, False])
def test_three_models_at_once_equal_each_alone(linear_target: bool) -> None:
    problem, method = linear_unit(), replace(SHORT, iterations=100, linear_target=linear_target)
    together = method.solve(problem)["fc"].codes
    for model in range(3):
        alone = method.solve(one_model(problem, model))["fc"].codes[0]
        assert (together[model] == alone).double().mean() > 0.98  # float32 sums may decide a tie differently


def test_the_same_seeds_give_the_same_codes_and_other_seeds_others() -> None:
    problem, method = linear_unit(), replace(SHORT, iterations=40, batch_size=8)
    codes = method.solve(problem)["fc"].codes
    assert torch.equal(method.solve(problem)["fc"].codes, codes)
    assert not torch.equal(method.solve(replace(problem, seeds=(7, 8, 9)))["fc"].codes, codes)


def test_the_order_of_the_images_does_not_matter_to_the_linear_target() -> None:
    problem = linear_unit()
    flipped = replace(problem, inputs=(problem.inputs[0].flip(1),), target=problem.target.flip(1))
    method = replace(SHORT, linear_target=True)
    assert torch.equal(method.solve(problem)["fc"].codes, method.solve(flipped)["fc"].codes)


@pytest.mark.parametrize("linear_target", [True, False])
def test_from_another_solution_codes_move_by_at_most_one_and_never_to_the_worse(linear_target: bool) -> None:
    problem = linear_unit(levels=4)
    start = Nearest().solve(problem)
    method = replace(SHORT, linear_target=linear_target, start=Nearest())
    solution = method.solve(replace(problem, start=start))
    assert ((solution["fc"].codes - start["fc"].codes).abs() <= 1).all()
    assert (error(problem, solution) <= error(problem, start)).all()
    assert (error(problem, solution) < 0.9 * error(problem, start)).any()
    unmoved = replace(method, iterations=1).solve(replace(problem, start=start))
    assert torch.equal(unmoved["fc"].codes, start["fc"].codes)


def test_without_a_better_solution_for_long_a_model_is_done() -> None:
    problem = linear_unit(levels=4)
    start = Nearest().solve(problem)
    started = replace(problem, start=start)
    method = replace(SHORT, linear_target=True, start=Nearest())
    whole, hasty = method.solve(started), replace(method, patience=30).solve(started)
    assert (error(problem, whole) <= error(problem, hasty)).all()
    assert (error(problem, hasty) <= error(problem, start)).all()
    assert torch.equal(replace(method, patience=300).solve(started)["fc"].codes, whole["fc"].codes)
    for model in range(3):  # the others' going on does not matter to a model that is done
        alone = replace(one_model(problem, model), start=Nearest().solve(one_model(problem, model)))
        codes = replace(method, patience=30).solve(alone)["fc"].codes[0]
        assert (codes == hasty["fc"].codes[model]).double().mean() > 0.98  # float32 sums may decide a tie differently


def test_patience_counts_from_the_end_of_the_warm_up_and_from_each_better_solution() -> None:
    start = Quantized(torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([3]))
    losses = iter([2.0, 5.0, 5.0, 5.0, 1.0, 3.0, 3.0, 3.0])
    rounding, alpha = from_solution(start)
    best = BestRounding(
        {"fc": rounding}, {"fc": alpha}, lambda _: torch.tensor([next(losses)]), patience=100, warmup=200
    )
    up = {"fc": alpha + 9}
    assert [best.look(up, iteration) for iteration in (100, 200, 300)] == [False, False, False]  # worse, but calm
    assert best.codes["fc"].codes.item() == 1
    assert [best.look(up, iteration) for iteration in (300, 350, 400, 401)] == [False, False, False, True]
    assert best.codes["fc"].codes.item() == 2


def test_patience_counts_from_the_end_of_a_warm_up_that_found_a_better_solution() -> None:
    start = Quantized(torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([3]))
    losses = iter([2.0, 1.0, 3.0, 3.0, 3.0])
    rounding, alpha = from_solution(start)
    best = BestRounding(
        {"fc": rounding}, {"fc": alpha}, lambda _: torch.tensor([next(losses)]), patience=100, warmup=200
    )
    assert [best.look({"fc": alpha}, iteration) for iteration in (50, 250, 300, 301)] == [False, False, False, True]


def test_no_search_ends_during_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Noting(BestRounding):
        def look(self, alphas: Mapping[str, Tensor], iteration: int) -> bool:
            looks.append(iteration)
            return super().look(alphas, iteration)

    monkeypatch.setattr("lit_privq.quantization.adaround.BestRounding", Noting)
    problem = linear_unit(levels=4)
    method = replace(SHORT, linear_target=True, start=Descent(), warmup=0.5, patience=1)
    method.solve(replace(problem, start=Descent().solve(problem)))
    assert 150 < looks[-1] < 300


def test_from_a_solution_the_first_relaxed_weight_is_that_solution() -> None:
    start = Nearest().solve(linear_unit())["fc"]
    rounding, alpha = from_solution(start)
    torch.testing.assert_close(rounding.weight(alpha), start.weight())
    assert torch.equal(rounding.hard(alpha).codes, start.codes)


def test_float64_is_kept() -> None:
    problem = linear_unit(n_models=1)
    layer = problem.layers["fc"]
    assert layer.gram is not None
    double = LayerProblem("fc", layer.weight.double(), layer.levels, layer.gram.double())
    solution = replace(SHORT, linear_target=True, iterations=20).solve(replace(problem, layers={"fc": double}))
    assert solution["fc"].weight().dtype == torch.float64


def test_a_linear_target_without_a_gram_matrix_is_refused() -> None:
    problem = linear_unit()
    bare = replace(problem.layers["fc"], gram=None)
    with pytest.raises(ValueError, match="layer fc: a linear target needs a gram matrix"):
        replace(SHORT, linear_target=True).solve(replace(problem, layers={"fc": bare}))
