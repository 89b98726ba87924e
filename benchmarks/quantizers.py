"""Quantizers: cost against plain implementations of the papers, and error on layers of a trained network.

python benchmarks/quantizers.py [--quick] [--json FILE]

One thread; seconds are CPU seconds of this process. The layers come from a network that is trained first: on CIFAR-100
at 16x16 where LIT_PRIVQ_DATA names a folder that holds it, else on scikit-learn's digits, each shifted in one of ten
ways that have to be told too, so that there are 100 classes. Errors are ||Y - Y_hat||^2 / ||Y||^2 of a layer's or
block's output on calibration inputs, medians over three draws of these; notes hold the errors on other inputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from rows import Row, median, options, show, spread
from torch import Tensor, nn

from lit_privq.fleet.ways import join
from lit_privq.quantization.descent import Descent, descend
from lit_privq.quantization.gptq import GPTQ, gptq_rounding
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import Affine, RangeSearch, quantize_to
from lit_privq.quantization.layers import is_layer
from lit_privq.quantization.magnitude_prune import MagnitudePrune
from lit_privq.quantization.method import HasStart, LayerProblem, Method, UnitProblem, levels_from_bits
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.obc import OBC, obq_rounding
from lit_privq.quantization.obc_prune import OBCPrune
from lit_privq.quantization.qat import TrainedGrids
from lit_privq.quantization.sign import BWN, Sign


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    choice = options(__doc__)
    layers = trained_layers(choice.quick)
    speed = [*greedy_speed(choice.quick), *fleet_speed(choice.quick), trained_speed(choice.quick)]
    rows = [*speed, *errors(choice.quick, layers)]
    show([*rows, layers.source], choice.json)


# Cost


def plain_greedy(weight: Tensor, inverse: Tensor, affine: Affine, levels: int) -> Tensor:
    """OBQ as its paper says: rows side by side, every inverse updated after every weight."""
    rows, columns = weight.shape
    weight, inverses = weight.clone(), inverse.repeat(rows, 1, 1)
    scale, zero = affine[0][0], affine[1][0]  # (rows, 1)
    codes, done, row = torch.empty_like(weight), torch.zeros_like(weight, dtype=torch.bool), torch.arange(rows)
    for _ in range(columns):
        near = (torch.round(weight / scale) + zero).clamp(0, levels - 1)
        error = (weight - scale * (near - zero)).square()
        score = error / inverses.diagonal(dim1=1, dim2=2)
        error[done], score[done] = 0, torch.inf
        pick = torch.where(error.amax(1) > 0.25 * scale.squeeze(1) ** 2, error.argmax(1), score.argmin(1))
        pivot = inverses[row, pick]  # (rows, columns)
        corner = pivot[row, pick]
        residual = weight[row, pick] - scale.squeeze(1) * (near[row, pick] - zero.squeeze(1))
        weight -= pivot * (residual / corner).unsqueeze(1)
        codes[row, pick], done[row, pick] = near[row, pick], True
        pivot = pivot / corner.sqrt().unsqueeze(1)
        inverses -= pivot.unsqueeze(2) @ pivot.unsqueeze(1)
    return codes


def made_up_layer(models: int, rows: int, columns: int, levels: int) -> LayerProblem:
    """Random weights, and the gram matrix of rectified correlated inputs."""
    mixing = torch.eye(columns) + 0.7 * torch.randn(models, columns, columns) / columns**0.5
    inputs = (torch.randn(models, 2 * columns, columns) @ mixing).relu()
    weight = torch.randn(models, rows, columns) * torch.rand(models, rows, 1)
    return LayerProblem("made up", weight, torch.full((models,), levels), inputs.mT @ inputs / columns)


def seconds(run: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds of each repeat."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return taken


def timed(case: str, unit: str, ours: list[float], other: list[float], note: str = "") -> Row:
    """Medians of both sides."""
    return Row(case, median(ours), median(other), unit, spread(ours, other), note=note)


def greedy_speed(quick: bool) -> list[Row]:
    """OBQ with waiting rank-one terms against the plain one, on the same rows."""
    rows = []
    for n_rows, columns in [(16, 288)] if quick else [(32, 288), (32, 576), (16, 1152)]:
        layer = made_up_layer(1, n_rows, columns, levels=4)
        ready = condition(layer, damping=0.01)
        affine, inverse = RangeSearch().fit(ready.target, layer.levels), ready.inverse()
        codes: dict[str, Tensor] = {}

        def fast() -> None:
            codes["fast"] = obq_rounding(ready.target, inverse, affine, layer.levels).codes[0]  # noqa: B023

        def plain() -> None:
            codes["plain"] = plain_greedy(ready.target[0], inverse[0], affine, 4)  # noqa: B023

        fast()  # warm up
        case = f"OBQ, {n_rows}x{columns}, 2 bits"
        ours, other = seconds(fast, 3), seconds(plain, 1)
        share = float((codes["fast"] == codes["plain"]).float().mean())
        rows.append(timed(case, "CPU-s", ours, other, note=f"{share:.2%} of codes equal"))
    return rows


def trained_speed(quick: bool) -> Row:
    """A step of quantization-aware training against one of plain training, of a batch of 64 images."""
    net, images, labels = Net(3).train(), torch.randn(64, 3, 16, 16), torch.randint(100, (64,))
    stack = join([net], "alone", images.shape[1:])
    layers = {name: layer for name, layer in stack.get_submodule("nets.0").named_modules() if is_layer(layer)}

    def weights() -> dict[str, Tensor]:
        return {name: stack.joined(f"{name}.weight") for name in layers}

    grids = TrainedGrids(layers, dict.fromkeys(layers, torch.tensor([4])), weights(), RangeSearch())
    optimizer = torch.optim.SGD(stack.parameters(), 0.1, momentum=0.9)

    def step(rounded: bool) -> None:
        own = grids(weights()) if rounded else {}
        optimizer.zero_grad()
        answers = stack(images[None], None, {f"{name}.weight": weight for name, weight in own.items()})
        F.cross_entropy(answers[0], labels).backward()
        optimizer.step()

    step(rounded=True)  # warm up
    repeats = 3 if quick else 20
    ours, other = (seconds(lambda: step(rounded), repeats) for rounded in (True, False))  # noqa: B023
    return timed("QAT, a step of training", "CPU-s", ours, other, note="other: in float")


def fleet_speed(quick: bool) -> list[Row]:
    """16 models in one problem against one by one, per model."""
    rows, models, repeats = [], 16, 2 if quick else 5
    for n_rows, columns in [(16, 144)] if quick else [(16, 144), (64, 576)]:
        fleet = made_up_layer(models, n_rows, columns, levels=3)
        assert fleet.gram is not None
        one = LayerProblem(fleet.name, fleet.weight[:1], fleet.levels[:1], fleet.gram[:1])

        def ordered(layer: LayerProblem) -> Callable[[], object]:
            ready = condition(layer, 0.01)
            feedback, affine = ready.feedback(), RangeSearch().fit(ready.target, layer.levels)
            return lambda: gptq_rounding(ready.target, feedback, affine, layer.levels)

        def descent(layer: LayerProblem) -> Callable[[], object]:
            ready = condition(layer, 0.01)
            start = quantize_to(ready.target, RangeSearch().fit(ready.target, layer.levels), layer.levels)
            return lambda: descend(start, ready.target, ready.gram, sweeps=5)

        def whole(method: Method) -> Callable[[LayerProblem], Callable[[], object]]:
            return lambda layer: lambda: method.solve(unit_of(layer))

        for name, prepared in {
            "ordered rounding": ordered,
            "5 sweeps of descent": descent,
            "GPTQ, all of it": whole(GPTQ()),
            "Descent, all of it": whole(Descent()),
        }.items():
            together, alone = prepared(fleet), prepared(one)
            alone()  # warm up
            case = f"{name}, {models} models of {n_rows}x{columns}"
            ours = [taken / models for taken in seconds(together, repeats)]
            rows.append(timed(case, "CPU-s a model", ours, seconds(alone, repeats), note="other: one by one"))
    return rows


# Error


class Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Same shape."""
        return F.relu(inputs + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs))))))


class Net(nn.Module):
    """A 64-channel block, a 128-channel block, and a head of 512 features and 100 classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.block1, self.block2 = Block(64), Block(128)
        self.down1, self.down2 = (
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in ((64, 128), (128, 512))
        )
        self.head = nn.Linear(512, 100)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What enters the first block, the second block and the head."""
        first = self.stem(images)
        second = self.down1(self.block1(first))
        return first, second, self.down2(self.block2(second)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.features(images)[2])
        return logits


def digits() -> tuple[Tensor, Tensor]:
    """Images and the 100 classes digit x shift."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = torch.tensor(data.images).float().unsqueeze(1) / 8 - 1, torch.tensor(data.target)
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)] + [(2, 2)]
    shifted = torch.cat([images.roll(shift, (2, 3)) for shift in shifts])
    return shifted, torch.cat([labels + 10 * index for index in range(len(shifts))])


def cifar100(root: str) -> tuple[Tensor, Tensor]:
    """Images at 16x16 and their 100 classes."""
    from torchvision.datasets import CIFAR100

    data = CIFAR100(root)
    images = F.avg_pool2d(torch.tensor(data.data).permute(0, 3, 1, 2) / 255, 2)
    return (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True), torch.tensor(
        data.targets
    )


def trained(images: Tensor, labels: Tensor, steps: int) -> Net:
    net, batch = Net(images.shape[1]), 100
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.15, total_steps=steps)
    for _ in range(steps):
        pick = torch.randint(len(images), (batch,))
        optimizer.zero_grad()
        F.cross_entropy(net(images[pick]), labels[pick]).backward()
        optimizer.step()
        scheduler.step()
    return net.eval()


def unfolded(inputs: Tensor) -> Tensor:
    """What a padded 3x3 convolution multiplies, (columns, positions)."""
    return F.unfold(inputs, 3, padding=1).transpose(0, 1).flatten(1).double()


def unit_of(layer: LayerProblem) -> UnitProblem:
    """A unit of one layer, for methods that look at no activations."""
    seeds = (0,) * len(layer.weight)
    return UnitProblem(layer.name, {layer.name: layer}, (), torch.empty(0), lambda _, inputs: inputs[0], seeds)


def relative(wanted: Tensor, found: Tensor) -> float:
    return float((wanted - found).double().square().sum() / wanted.double().square().sum())


def quantized_layer(method: Method, weight: Tensor, seen: Tensor, bits: float) -> Tensor:
    """(rows, columns) weights on a grid, calibrated on the inputs (columns, positions) that the layer sees."""
    gram = (2 / seen.shape[1] * seen @ seen.T).to(weight)[None]
    unit = unit_of(LayerProblem("layer", weight[None], torch.tensor([levels_from_bits(bits)]), gram))
    if isinstance(method, HasStart) and method.start:
        unit = replace(unit, start=method.start.solve(unit))
    return method.solve(unit)["layer"].weight()[0]


def quantized_block(method: Method, block: nn.Module, inputs: Tensor, bits: float) -> nn.Module:
    """A block whose convolutions are quantized, calibrated on these inputs."""
    quantizer = NetworkQuantizer([block], inputs[None], method, [bits], [0])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer.network(0, 0)


def layer_error(method: Method, weight: Tensor, seen: Tensor, bits: float) -> float:
    """Error of a layer on its calibration inputs."""
    return relative(weight.double() @ seen, quantized_layer(method, weight, seen, bits).double() @ seen)


@torch.no_grad()
def block_error(method: Method, block: nn.Module, inputs: Tensor, bits: float) -> float:
    """Error after the block's last activation, on its calibration inputs."""
    return relative(block(inputs), quantized_block(method, block, inputs, bits)(inputs))


@dataclass(frozen=True)
class Inputs:
    """What enters the layers for some images: the block images, the others (columns, positions)."""

    block: Tensor
    conv: Tensor
    head: Tensor


@dataclass(frozen=True)
class Layers:
    """Layers of a trained network, with calibration inputs of several draws and others that are held out."""

    block: Block
    conv: Tensor
    head: Tensor
    draws: tuple[Inputs, ...]
    held_out: Inputs
    source: Row


def trained_layers(quick: bool) -> Layers:
    """Those of the network that the benchmark says."""
    root = os.environ.get("LIT_PRIVQ_DATA")
    use_cifar100 = root is not None and (Path(root) / "cifar-100-python").is_dir()
    layers = layers_of(*(cifar100(root) if root and use_cifar100 else digits()), steps=30 if quick else 600)
    return replace(
        layers, source=replace(layers.source, note="CIFAR-100 at 16x16" if use_cifar100 else "digits x shifts")
    )


@torch.no_grad()
def layers_of(images: Tensor, labels: Tensor, steps: int) -> Layers:
    """Train a network, and take its layers with the activations of 512 of its training images a draw."""
    with torch.enable_grad():
        net = trained(images, labels, steps)
    picks = torch.randperm(len(images))[: 4 * 512].split(512)

    def entering(pick: Tensor) -> Inputs:
        first, second, features = net.features(images[pick])
        return Inputs(first, unfolded(second), features.T.double())

    *draws, held_out = map(entering, picks)
    accuracy = float((net(images[picks[0]]).argmax(1) == labels[picks[0]]).float().mean())
    conv = net.block2.conv1.weight.detach().flatten(1)
    source = Row("accuracy of the network the layers are of", accuracy, None, "fraction")
    return Layers(net.block1, conv[:16], net.head.weight.detach(), tuple(draws), held_out, source)


@dataclass(frozen=True)
class Errors:
    """One method on one unit, a value a draw: errors on calibration inputs and on others, and CPU seconds."""

    calibration: list[float]
    held_out: list[float]
    seconds: list[float]


Measure = Callable[[Method, Inputs, float], tuple[float, float]]
"""Errors on calibration inputs and on the held-out ones."""


def errors(quick: bool, layers: Layers) -> Iterator[Row]:
    """Every method's error beside OBQ's in its original protocol; medians over draws of the calibration images."""

    @torch.no_grad()
    def block(method: Method, draw: Inputs, bits: float) -> tuple[float, float]:
        found, plain = quantized_block(method, layers.block, draw.block, bits), layers.block
        first, second = (relative(plain(inputs.block), found(inputs.block)) for inputs in (draw, layers.held_out))
        return first, second

    def layer(weight: Tensor, entering: Callable[[Inputs], Tensor]) -> Measure:
        def error(method: Method, draw: Inputs, bits: float) -> tuple[float, float]:
            found = quantized_layer(method, weight, entering(draw), bits).double()
            first, second = (
                relative(weight.double() @ entering(inputs), found @ entering(inputs))
                for inputs in (draw, layers.held_out)
            )
            return first, second

        return error

    measured: dict[str, Measure] = {
        "block of 64 channels": block,
        "conv 128 to 128, 16 rows": layer(layers.conv, lambda inputs: inputs.conv),
        "head 512 to 100": layer(layers.head, lambda inputs: inputs.head),
    }
    methods: dict[str, Method] = {"Descent": Descent(), "GPTQ": GPTQ(), "Nearest": Nearest()}
    methods |= {"OBC pruning": OBCPrune(), "Magnitude pruning": MagnitudePrune()}  # at the bytes of these bits
    signs: dict[str, Method] = {"Sign": Sign(), "BWN": BWN()}
    draws = layers.draws[: 1 if quick else None]
    for case, measure in list(measured.items())[: 1 if quick else None]:
        other: dict[float, Errors] = {}
        for bits in (1.58,) if quick else (4, 2, 1.58, 1):
            other[bits] = over_draws(OBC(), measure, draws, bits)
            for name, method in {**methods, **(signs if bits == 1 else {})}.items():
                ours = over_draws(method, measure, draws, bits)
                yield compared(f"{name}, {case}, {bits} bits", ours, other[bits], "OBQ")
                if name == "Descent" and bits == 1:
                    yield compared(f"{name} at 1 bit, {case}", ours, other[1.58], "OBQ at 1.58 bits")


def over_draws(method: Method, measure: Measure, draws: Sequence[Inputs], bits: float) -> Errors:
    """Errors and seconds of every draw."""
    found = Errors([], [], [])
    for draw in draws:
        start = time.process_time()
        calibration, held_out = measure(method, draw, bits)
        found.seconds.append(time.process_time() - start)
        found.calibration.append(calibration)
        found.held_out.append(held_out)
    return found


def compared(case: str, ours: Errors, other: Errors, name: str) -> Row:
    """Medians, and the ratio's range over draws."""
    ratios = [own / theirs for own, theirs in zip(ours.calibration, other.calibration, strict=True)]
    held_out = f"{median(ours.held_out):.3g} for {median(other.held_out):.3g} held out"
    note = f"{median(ours.seconds):.1f} CPU-s; other: {name}; {min(ratios):.3f} to {max(ratios):.3f} of it; {held_out}"
    sides = ours.calibration, other.calibration
    return Row(case, median(sides[0]), median(sides[1]), "rel. error", spread(*sides), note=note)


if __name__ == "__main__":
    main()
