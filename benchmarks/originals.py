"""Quantizers beside the code that their authors published, run as it is on the same layers.

python benchmarks/originals.py --obc FOLDER --brecq FOLDER [--quick] [--json FILE]

FOLDER holds a checkout of github.com/IST-DASLab/OBC or github.com/yhhhli/BRECQ; without it that part is left out. Only
what asks for a GPU or for a cluster is replaced: synchronisation, and BRECQ's loop over units, which is written here
around its own modules, quantizers and losses. Layers are those of quantizers.py. One thread, CPU seconds; some ten
minutes. Errors are ||Y - Y_hat||^2 / ||Y||^2 of the unit's output on the calibration inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar
from unittest import mock

import torch
import torch.nn.functional as F
from quantizers import Block, Layers, block_error, made_up_layer, relative, trained_layers, unit_of
from rows import Row, show
from torch import Tensor, nn

from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.method import LayerProblem, Method, levels_from_bits
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.obc_prune import OBCPrune

DAMPING = 1e-2  # so that the order does not hang on float noise
Result = TypeVar("Result")


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    choice = options()
    layers = trained_layers(choice.quick)
    rows: list[Row] = []
    if choice.obc:
        rows += greedy(choice.obc, layers, choice.quick)
    if choice.brecq:
        rows += learned(choice.brecq, layers, 20 if choice.quick else 1_000)
    show([*rows, layers.source], choice.json)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--obc", type=Path, help="checkout of github.com/IST-DASLab/OBC")
    parser.add_argument("--brecq", type=Path, help="checkout of github.com/yhhhli/BRECQ")
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


@contextlib.contextmanager
def imported(folder: Path, *names: str) -> Iterator[list[ModuleType]]:
    """Modules of a checkout; both have a ``quant`` of their own, so that neither stays."""
    with mock.patch.dict(sys.modules), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        yield [importlib.import_module(name) for name in names]


def timed_quietly(run: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and CPU seconds; what the originals print is dropped."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        result = run()
    return result, time.process_time() - start


# OBC


def greedy(folder: Path, layers: Layers, quick: bool) -> Iterator[Row]:
    """Time and codes on made-up layers, time and error on a trained one."""
    with imported(folder, "quant", "trueobs") as (grids, solver):
        shapes = [(8, 144)] if quick else [(32, 288), (32, 576), (16, 1152)]
        for n_rows, columns in shapes:
            layer = made_up_layer(1, n_rows, columns, levels=4)
            yield from greedy_rows(grids, solver, layer, f"OBQ, {n_rows}x{columns}", None)
            yield pruning_row(solver, layer, f"OBC pruning, {n_rows}x{columns}, at the bytes of 2 bits")
        seen = layers.draws[0].conv
        gram = (2 / seen.shape[1] * seen @ seen.T).to(layers.conv)[None]
        for bits in (2,) if quick else (4, 2, 1.58):
            levels = torch.tensor([levels_from_bits(bits)])
            layer = LayerProblem("layer", layers.conv[None], levels, gram)
            yield from greedy_rows(grids, solver, layer, f"OBQ, conv 128 to 128, 16 rows, {bits} bits", seen)


def greedy_rows(
    grids: ModuleType, solver: ModuleType, layer: LayerProblem, case: str, seen: Tensor | None
) -> Iterator[Row]:
    """Both sides' CPU seconds, and their errors where the inputs are given."""
    own, ours = timed_quietly(lambda: OBC(damping=DAMPING).solve(unit_of(layer))[layer.name].weight()[0])
    original, theirs = timed_quietly(lambda: original_greedy(grids, solver, layer))
    same = torch.isclose(own, original, rtol=1e-4, atol=1e-6 * float(layer.weight.abs().max())).double().mean()
    yield Row(case, ours, theirs, "CPU-s", note=f"{float(same):.2%} of weights equal")
    if seen is not None:
        wanted = layer.weight[0].double() @ seen
        error, other = (relative(wanted, weight.double() @ seen) for weight in (own, original))
        yield Row(case, error, other, "rel. error")


def pruning_row(solver: ModuleType, layer: LayerProblem, case: str) -> Row:
    """Both sides' CPU seconds for as many kept weights."""
    assert layer.gram is not None
    own, ours = timed_quietly(lambda: OBCPrune(damping=DAMPING).solve(unit_of(layer))[layer.name].weight()[0])
    linear = nn.Linear(own.shape[1], own.shape[0], bias=False)
    linear.weight.data = layer.weight[0].clone()
    problem = solver.TrueOBS(linear, rel_damp=DAMPING)
    problem.H = layer.gram[0].double()

    def pruned() -> Tensor:
        problem.prepare_unstr()
        weight: Tensor = problem.prune_unstr([float((own == 0).double().mean())])[0]
        return weight

    with mock.patch.object(torch.cuda, "synchronize"):
        original, theirs = timed_quietly(pruned)
    same = ((own == 0) == (original == 0)).double().mean()
    return Row(case, ours, theirs, "CPU-s", note=f"{float(same):.2%} of the mask equal")


def original_greedy(grids: ModuleType, solver: ModuleType, layer: LayerProblem) -> Tensor:
    """The original's weights, (rows, columns)."""
    assert layer.gram is not None
    linear = nn.Linear(layer.weight.shape[2], layer.weight.shape[1], bias=False)
    linear.weight.data = layer.weight[0].clone()
    problem = solver.TrueOBS(linear, rel_damp=DAMPING)
    problem.H = layer.gram[0].double()
    problem.quantizer = grids.Quantizer()
    problem.quantizer.configure(2, perchannel=True, sym=False, mse=True)
    problem.quantizer.maxq = layer.levels[0] - 1
    with mock.patch.object(torch.cuda, "synchronize"):
        problem.quantize()
    return linear.weight.data


# BRECQ


def learned(folder: Path, layers: Layers, iterations: int) -> Iterator[Row]:
    """A residual block as one unit, and a convolution, at equal iterations of the published schedule."""
    inputs = layers.draws[0].block[:, :, 2:6, 2:6].contiguous()
    conv = nn.Sequential(layers.block.conv1).eval()
    fakes = {name: mock.MagicMock() for name in ("linklink", "models", *(f"models.{n}" for n in MODELS))}
    for name in MODELS:
        for block in MODELS[name]:
            setattr(fakes[f"models.{name}"], block, type(block, (nn.Module,), {}))
    with mock.patch.dict(sys.modules, fakes), imported(folder, "quant.block_recon", "quant.quant_layer") as modules:
        for bits in (2, 1.58):
            cases: list[tuple[str, Method, nn.Module]] = [
                ("BRECQ, block of 64 channels", BRECQ(iterations=iterations), layers.block),
                ("AdaRound, conv 64 to 64", AdaRound(iterations=iterations), conv),
            ]
            for case, method, unit in cases:
                error, ours = timed_quietly(lambda: block_error(method, unit, inputs, bits))  # noqa: B023
                other, theirs = timed_quietly(lambda: original_learned(modules, unit, inputs, bits, iterations))  # noqa: B023
                case = f"{case}, {bits} bits, {iterations:,} iterations"
                yield Row(case, error, other, "rel. error")
                yield Row(case, ours, theirs, "CPU-s")


MODELS = {
    "resnet": ("BasicBlock", "Bottleneck"),
    "regnet": ("ResBottleneckBlock",),
    "mobilenetv2": ("InvertedResidual",),
}
"""Networks of BRECQ's repository, whose names it imports."""


def original_learned(modules: list[ModuleType], unit: nn.Module, inputs: Tensor, bits: float, iterations: int) -> float:
    """The error of the original's solution of one unit."""
    loss_of, layer_of = modules
    quantized = (
        OriginalBlock(unit, layer_of, bits)
        if isinstance(unit, Block)
        else original_layer(unit.get_submodule("0"), layer_of, bits)
    )
    alphas = []
    for module in quantized.modules():
        if isinstance(module, layer_of.QuantModule):
            module.set_quant_state(True, False)
            module.weight_quantizer(module.weight)  # chooses its grid
            module.weight_quantizer = loss_of.AdaRoundQuantizer(
                module.weight_quantizer, module.org_weight.data, "learned_hard_sigmoid"
            )
            module.weight_quantizer.soft_targets = True
            alphas.append(module.weight_quantizer.alpha)
    loss = loss_of.LossFunction(
        quantized, round_loss="relaxation", weight=0.01, max_count=iterations, b_range=(20, 2), warmup=0.2, p=2.0
    )
    optimizer = torch.optim.Adam(alphas)
    with torch.no_grad():
        target = unit(inputs)
    for _ in range(iterations):
        pick = torch.randperm(len(inputs))[:32]
        optimizer.zero_grad()
        loss(quantized(inputs[pick]), target[pick]).backward()
        optimizer.step()
    for module in quantized.modules():
        if isinstance(module, layer_of.QuantModule):
            module.weight_quantizer.soft_targets = False
    with torch.no_grad():
        return relative(target, quantized(inputs))


def original_layer(layer: nn.Module, layer_of: ModuleType, bits: float) -> nn.Module:
    """A convolution as BRECQ quantizes it; its grid takes whole bits, so that three levels are set by hand."""
    module = layer_of.QuantModule(layer, {"n_bits": 2, "channel_wise": True, "scale_method": "mse"})
    module.weight_quantizer.n_levels = levels_from_bits(bits)
    module.weight_quantizer.n_bits = math.log2(levels_from_bits(bits))
    quantized: nn.Module = module
    return quantized


class OriginalBlock(nn.Module):
    """A block with BRECQ's convolutions."""

    def __init__(self, block: Block, layer_of: ModuleType, bits: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = (original_layer(conv, layer_of, bits) for conv in (block.conv1, block.conv2))
        self.bn1, self.bn2 = block.bn1, block.bn2

    def forward(self, inputs: Tensor) -> Tensor:
        """As the block's."""
        return F.relu(inputs + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs))))))


if __name__ == "__main__":
    main()
