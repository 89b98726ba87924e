from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound, BatchLoss
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.checks import Bits
from lit_privq.quantization.method import Method, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer, UnitReport
from lit_privq.quantization.solution import Quantized

SHORT = BRECQ(iterations=40, lr=0.1, batch_size=8)


def trained_like(seed: int) -> nn.Module:
    """A small residual network whose batch norms fit its inputs, as after training."""
    torch.manual_seed(seed)
    net = small_resnet(num_classes=3, width=4)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average of all batches
    with torch.no_grad():
        net.train()(images(1, 64)[0])
    return net.eval()


def images(n_models: int, n_examples: int = 24) -> Tensor:
    return torch.randn(n_models, n_examples, 1, 8, 8, generator=torch.Generator().manual_seed(9))


def quantize(
    nets: list[nn.Module], data: Tensor, method: Method, bits: list[Bits]
) -> tuple[NetworkQuantizer, list[UnitReport]]:
    quantizer = NetworkQuantizer(nets, data, method, bits, seeds=list(range(len(nets))))
    return quantizer, [report for _ in quantizer.units for report in quantizer.step()]


def first_block_of(net: nn.Module) -> nn.Module:
    parts = [(name, net.get_submodule(name)) for name in ("conv1", "bn1", "relu", "layer1")]
    return nn.Sequential(OrderedDict(parts)).eval()


@dataclass(frozen=True)
class Spy(BRECQ):
    """Keeps the problems it was asked."""

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        ASKED.append(problem)
        return super().solve(problem)


ASKED: list[UnitProblem] = []


def test_the_published_settings_are_the_defaults() -> None:
    settings = BRECQ()
    assert (settings.iterations, settings.batch_size, settings.lr, settings.rounding_weight) == (20_000, 32, 1e-3, 0.01)
    assert (settings.warmup, settings.first_exponent, settings.last_exponent) == (0.2, 20.0, 2.0)


def test_units_are_residual_blocks() -> None:
    quantizer, _ = quantize([trained_like(0)], images(1), replace(SHORT, iterations=1), [2])
    assert quantizer.units == ("conv1", "layer1.0", "layer2.0", "fc")


@pytest.mark.slow
def test_block_outputs_err_less_than_with_layers_rounded_alone() -> None:
    """The paper's claim: errors of the layers inside a block may cancel."""
    nets, data = [first_block_of(trained_like(0))], images(1, 48)
    _, blocks = quantize(nets, data, BRECQ(iterations=300, lr=0.03, rounding_weight=0.1), [2])
    alone, _ = quantize(nets, data, AdaRound(iterations=300, lr=0.03, rounding_weight=0.1), [2])
    for model, net in enumerate(nets):
        with torch.no_grad():
            wanted, got = net(data[model]), alone.network(model, 0)(data[model])
        layerwise = float((wanted - got).square().sum() / wanted.square().sum())
        blockwise = next(report.error for report in blocks if (report.unit, report.model) == ("layer1.0", model))
        assert blockwise < layerwise


def test_two_models_at_once_equal_each_alone() -> None:
    nets, data = [trained_like(seed) for seed in range(2)], images(2)
    together, _ = quantize(nets, data, SHORT, [4, 2])
    for model in range(2):
        alone = NetworkQuantizer([nets[model]], data[model : model + 1], SHORT, [2], [model])
        for _ in alone.units:
            alone.step()
        for name, one in alone.codes(0, 0).items():
            same = (one.codes == together.codes(model, 1)[name].codes).double().mean()
            assert same > 0.97, name  # float32 sums may decide a tie differently


def test_from_another_method_codes_move_by_at_most_one_and_units_never_err_more() -> None:
    net, data = trained_like(0), images(1)
    ASKED.clear()
    quantize([net], data, Spy(iterations=60, lr=0.1, batch_size=8, start=Nearest()), [2])
    assert [problem.name for problem in ASKED] == ["conv1", "layer1.0", "layer2.0", "fc"]
    moved = 0
    for problem in ASKED:
        assert problem.start is not None
        solution = replace(SHORT, iterations=60, start=Nearest()).solve(problem)
        assert all(((one.codes - problem.start[name].codes).abs() <= 1).all() for name, one in solution.items())
        loss = BatchLoss(problem, 24)
        ends = loss.exact({name: one.weight() for name, one in solution.items()})
        starts = loss.exact({name: one.weight() for name, one in problem.start.items()})
        assert (ends <= starts * (1 + 1e-5)).all()  # the same sums in other batches
        moved += sum(int((one.codes != problem.start[name].codes).sum()) for name, one in solution.items())
    assert moved > 0


def test_the_start_is_solved_layer_by_layer_from_the_quantized_prefix() -> None:
    net, data = trained_like(0), images(1)
    plain, _ = quantize([net], data, Nearest(), [2])
    started, reports = quantize([net], data, replace(SHORT, iterations=1, start=Nearest()), [2])
    for name, one in plain.codes(0, 0).items():
        assert torch.equal(one.codes, started.codes(0, 0)[name].codes)
    assert all(report.flipped == 0 for report in reports)


def test_fisher_importance_has_mean_one_and_scales_the_loss() -> None:
    net, data = trained_like(0), images(1)
    ASKED.clear()
    quantize([net], data, Spy(iterations=1, batch_size=8, fisher=True), [2])
    for problem in ASKED:
        assert problem.importance is not None
        assert problem.importance.shape[1:] == problem.target.shape[2:]
        assert float(problem.importance.mean()) == pytest.approx(1.0, rel=1e-4)
    head = ASKED[-1]
    flat = replace(head, importance=torch.ones_like(head.target[:, 0]))
    weights = {"fc": torch.zeros_like(head.layers["fc"].weight)}
    plain = BatchLoss(replace(head, importance=None), 24).exact(weights)
    torch.testing.assert_close(BatchLoss(flat, 24).exact(weights), plain)
    assert not torch.allclose(BatchLoss(head, 24).exact(weights), plain)
