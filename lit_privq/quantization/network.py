"""The engine: quantizes the units of many networks, at many precisions, in one walk over their common graph."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

from lit_privq.quantization.checks import (
    Bits,
    bits_of,
    check_memory,
    check_nets,
    check_path,
    check_patterns,
    check_range,
    check_solution,
    levels_of,
    stacked,
    stays_float,
)
from lit_privq.quantization.gram import gram, gram_and_cross
from lit_privq.quantization.graph import Graph, Piece
from lit_privq.quantization.importance import output_importance
from lit_privq.quantization.layers import Layer, channel_axis, modules_of, n_groups, to_matrix, to_weight
from lit_privq.quantization.method import HasFisher, HasStart, LayerProblem, Method, UnitProblem, check_method
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.qat import QAT
from lit_privq.quantization.solution import Quantized, Solution
from lit_privq.quantization.tracing import State


@dataclass(frozen=True)
class UnitReport:
    """Error and codes of one unit of one model at one precision.

    Args:
        unit: its name.
        model: index among the networks.
        precision: index among the bits.
        error: squared error of the unit's output on the calibration data over the squared float output,
            both prefixes included.
        distinct: most distinct weights in an output channel.
        clipped: share of the weights that lie more than half a step outside their grid.
        flipped: share of the codes that are not the nearest ones on their grid; of a pruning, share of the weights for
            which magnitude alone would decide otherwise.
        zeros: share of the weights that are 0.
        dead: inputs of its layers that are always 0, where the method looks at gram matrices; their weights become 0.
        deficient: whether a gram matrix is rank-deficient, so that damping alone decides a part of the weights.
        seconds: that the unit took, over the number of models and precisions.
    """

    unit: str
    model: int
    precision: int
    error: float
    distinct: int
    clipped: float
    flipped: float
    zeros: float
    dead: int
    deficient: bool
    seconds: float


@dataclass
class _Prefix:
    """Values of the nodes already run: (models, examples, ...) and (models * precisions, examples, ...)."""

    float: dict[fx.Node, Tensor]
    quantized: dict[fx.Node, Tensor]

    def keep(self, nodes: set[fx.Node]) -> _Prefix:
        """Without the values that nothing will read again."""
        kept = [
            {node: value for node, value in values.items() if node in nodes} for values in (self.float, self.quantized)
        ]
        return _Prefix(*kept)


class NetworkQuantizer:
    """Quantizes F networks of one architecture at P precisions, unit by unit, in one pass over their calibration data.

    All F * P copies walk through the graph together: each unit is one problem, whose entry ``model * P + precision``
    is that model at that precision. Activations of the float networks and of the quantized copies are advanced from
    unit to unit and never computed from the images again; float ones are shared by all precisions.

    Args:
        nets: networks in eval mode, on the device of the images; they are not changed.
        images: calibration images per model as the networks take them, (models, examples, channels, height, width).
        method: the quantizer.
        bits: the precisions; names in patterns are those of the networks' own layers, and 32 in a map leaves the
            weights of this name in float.
        seeds: one per model; all precisions of a model share it.
        batch_size: images that run through a unit together; bounds memory, does not change results.

    Attributes:
        units: names of the units, in the order they are solved.
        weights: names of all weights of the networks, those that stay float included.
        levels: of each layer by its name, (precisions,); 0 where it stays float.

    Raises:
        ValueError: if a network is in training mode, differs from the first, is not finite or does not run on its
            calibration images, there is no such image or no precision, a pattern of bits matches nothing or leaves a
            layer out, a weight cannot be quantized and does not stay float, there is no memory for a gram matrix, the
            graph does not reproduce the network, or an image's output depends on the other images of its batch.
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        images: Tensor | Sequence[Tensor],
        method: Method,
        bits: Sequence[Bits],
        seeds: Sequence[int],
        batch_size: int = 256,
    ) -> None:
        check_method(method)
        images = _ordinary(images if isinstance(images, Tensor) else stacked(images))
        if not bits:
            raise ValueError("bits must hold at least one precision; got an empty list, give for example [4, 2]")
        check_method(method)
        nets = [_ordinary_network(net) for net in nets]
        check_nets(nets, images, seeds)
        self._nets, self._method, self._bits, self._seeds = nets, method, list(bits), list(seeds)
        self._batch_size = batch_size
        self._graph = Graph(nets[0], images[0, :4], lambda name: all(stays_float(name, one) for one in bits))
        self.weights = self._graph.weights
        check_patterns(self._bits, self.weights)
        self.levels = {name: levels_of(name, self._bits) for name in self._graph.layers.values()}  # (precisions,)
        if method.needs_gram:
            check_memory(self._graph, len(nets) * len(bits), images.device)
        self._modules = [modules_of(net) for net in nets]
        pieces = self._graph.pieces(method.unit)
        self.units = tuple(piece.name for piece in pieces if piece.layers)
        check_path(self._graph, pieces, self._nets, images[:, :4])
        self._pieces = pieces[: 1 + max(position for position, piece in enumerate(pieces) if piece.layers)]
        self._importance = self._fisher(pieces, images) if isinstance(method, HasFisher) and method.fisher else {}
        self._solved: dict[str, Solution] = {}
        self._prefix = _Prefix({self._graph.image: images}, {self._graph.image: self._each_precision(images)})

    @torch.no_grad()
    def step(self) -> list[UnitReport]:
        """Quantize the next unit, for all models and precisions, and move on behind it.

        Raises:
            ValueError: if all units are done, activations are not finite, or the method's solution is none.
        """
        while self._pieces and not self._pieces[0].layers:
            self._advance(self._pieces.pop(0), self._prefix, {})
        if not self._pieces:
            raise ValueError(f"all {len(self.units)} units are quantized; step() must be called once per unit")
        started = time.perf_counter()
        piece = self._pieces.pop(0)
        problem, solution = self._solve(piece, self._method, self._prefix)
        self._advance(piece, self._prefix, solution)
        self._solved |= {
            name: one.compact().without_groups(n_groups(self._layer(name))) for name, one in solution.items()
        }
        errors = self._errors(piece)
        self._prefix = self._prefix.keep({node for later in self._pieces for node in later.inputs})
        seconds = (time.perf_counter() - started) / len(errors)
        return [
            self._report(piece, problem, solution, entry, error, seconds)
            for entry, error in enumerate(errors)
            if any(self._is_quantized(name, entry) for name in piece.layers)
        ]

    @torch.no_grad()
    def network(self, model: int, precision: int) -> nn.Module:
        """A copy of a network with its weights on the grid; nothing else is changed.

        Raises:
            ValueError: if units are left, or a layer does not keep the weight that is written to it.
        """
        net = copy.deepcopy(self._nets[model])
        modules = modules_of(net)
        for name, quantized in self.codes(model, precision).items():
            layer = cast(Layer, modules[name])
            weight = to_weight(layer, quantized.weight())[0].to(layer.weight)
            layer.weight.copy_(weight)
            if not torch.equal(layer.weight, weight):
                raise ValueError(
                    f"layer {name} does not keep the weight that is written to it, so it would stay float; "
                    "its weight must be a parameter of its own (remove parametrizations before quantizing)"
                )
        return net

    def codes(self, model: int, precision: int) -> dict[str, Solution]:
        """What determines the weight of every layer that does not stay float, its model axis of length 1, on the CPU.

        Codes (1, rows, columns), scale and zero (1, rows, 1), levels (1,); of a pruned layer its values.
        """
        self._check_done()
        entry = model * len(self._bits) + precision
        return {
            name: one.entries(slice(entry, entry + 1)).expanded(cast(Tensor, self._modules[model][name].weight).dtype)
            for name, one in self._solved.items()
            if self._is_quantized(name, entry)
        }

    def float_weights(self, precision: int) -> list[str]:
        """Names of the weights that stay float at a precision."""
        return [name for name in self.weights if stays_float(name, self._bits[precision])]

    # ---------------------------------------------------------------------------------------------- one unit

    def _solve(self, piece: Piece, method: Method, prefix: _Prefix) -> tuple[UnitProblem, Mapping[str, Solution]]:
        """The problem of a unit and the method's solution."""
        target = self._run(piece, self._float_state(piece), [prefix.float[node] for node in piece.inputs])
        check_range(piece.name, "activations", target)
        prefix.float[piece.output] = target
        state, active = self._quantized_state(piece), method.needs_activations
        fed = prefix.quantized if method.inputs == "quantized" else prefix.float
        inputs = [
            fed[node] if method.inputs == "quantized" else self._each_precision(fed[node]) for node in piece.inputs
        ]
        problem = UnitProblem(
            name=piece.name,
            layers={name: self._layer_problem(piece, name, method, prefix) for name in piece.layers},
            inputs=tuple(inputs) if active else (),
            target=self._each_precision(target) if active else target.new_empty(len(self._nets) * len(self._bits), 0),
            forward=lambda weights, batch: self._forward(piece, self._with_weights(state, weights), batch),
            seeds=tuple(seed for seed in self._seeds for _ in self._bits),
            start=self._start(piece, method.start, prefix) if isinstance(method, HasStart) and method.start else None,
            importance=self._each_precision(self._importance[piece.name]) if piece.name in self._importance else None,
            channel_axis=channel_axis(self._layer(piece.layers[-1]), target),
        )
        solution: Mapping[str, Solution] = method.solve(problem)
        check_solution(problem, solution)
        return problem, solution

    def _start(self, piece: Piece, method: Method, prefix: _Prefix) -> dict[str, Quantized]:
        """Another method's solution of the unit, layer by layer."""
        inner, solution = prefix.keep(set(piece.inputs)), dict[str, Quantized]()
        for part in self._graph.inside(piece):
            solved = self._solve(part, method, inner)[1] if part.layers else {}
            self._advance(part, inner, solved)
            for name, one in solved.items():
                if not isinstance(one, Quantized):
                    raise ValueError(f"start must be a method that gives codes on grids; got {type(method).__name__}")
                solution[name] = one
        return solution

    def _advance(self, piece: Piece, prefix: _Prefix, solution: Mapping[str, Solution]) -> None:
        """Run a piece; its float output is there already where it has been solved."""
        if piece.output not in prefix.float:
            inputs = [prefix.float[node] for node in piece.inputs]
            prefix.float[piece.output] = self._run(piece, self._float_state(piece), inputs)
        weights = {name: quantized.weight() for name, quantized in solution.items()}
        state = self._with_weights(self._quantized_state(piece), weights)
        prefix.quantized[piece.output] = self._run(piece, state, [prefix.quantized[node] for node in piece.inputs])

    def _layer_problem(self, piece: Piece, name: str, method: Method, prefix: _Prefix) -> LayerProblem:
        layer = self._layer(name)
        weights = torch.stack([cast(Tensor, modules[name].weight).detach() for modules in self._modules])
        check_range(piece.name, f"weights of {name}", weights)
        levels = self.levels[name].to(weights.device)
        levels = levels.where(levels > 0, levels.max())  # what stays float is solved with the others, for nothing
        levels = levels.repeat(len(self._nets)).repeat_interleave(n_groups(layer))
        problem = LayerProblem(name, to_matrix(layer, self._each_precision(weights)), levels)
        if not method.needs_gram:
            return problem
        before, moments = self._graph.before(piece, name), list[tuple[Tensor, ...]]()
        state, quantized_state = self._float_state(before), self._quantized_state(before)
        for model in range(len(self._nets)):
            floats = self._feed(before, state, prefix.float, model)
            if method.inputs == "float":
                moments.append((gram(layer, floats).repeat(len(self._bits), 1, 1),))
                continue
            entries = range(model * len(self._bits), (model + 1) * len(self._bits))
            fed = torch.stack([self._feed(before, quantized_state, prefix.quantized, entry) for entry in entries])
            moments.append(gram_and_cross(layer, floats, fed))
        joined = [torch.cat(one).to(weights.dtype) for one in zip(*moments, strict=True)]
        return replace(problem, gram=joined[0], cross=joined[1] if len(joined) > 1 else None)

    def _feed(self, before: Piece, state: State, values: Mapping[fx.Node, Tensor], entry: int) -> Tensor:
        """What enters a layer in one network."""
        own = tree_map(lambda tensor: tensor[entry], state)
        return before.run(self._graph.modules, own, [values[node][entry] for node in before.inputs])

    # ---------------------------------------------------------------------------------------------- running

    def _run(self, piece: Piece, state: State, inputs: Sequence[Tensor]) -> Tensor:
        """The output of a piece on all examples, (models, examples, ...), a batch at a time."""
        batches = zip(*(torch.split(value, self._batch_size, dim=1) for value in inputs), strict=True)
        return torch.cat([self._forward(piece, state, batch) for batch in batches], dim=1)

    def _forward(self, piece: Piece, state: State, inputs: tuple[Tensor, ...]) -> Tensor:
        """The output of a piece for one batch of every model, (models, batch, ...).

        One vectorised call on accelerators; on a CPU, where that is up to twice slower, one model after the other.
        """
        run = partial(piece.run, self._graph.modules)
        if _vectorises(inputs[0].device):
            return cast(Callable[..., Tensor], torch.func.vmap(run))(state, inputs)
        models = range(len(inputs[0]))
        return torch.stack(
            [run(tree_map(lambda tensor, m=m: tensor[m], state), [value[m] for value in inputs]) for m in models]
        )

    def _float_state(self, piece: Piece) -> State:
        """Parameters and buffers of the float networks, each (models, ...)."""
        states = [piece.state(modules) for modules in self._modules]
        return cast(State, tree_map(lambda *tensors: torch.stack(tensors), *states))

    def _quantized_state(self, piece: Piece) -> State:
        """Parameters and buffers of the quantized copies, each (models * precisions, ...); weights are still float."""
        return cast(State, tree_map(self._each_precision, self._float_state(piece)))

    def _with_weights(self, state: State, weights: Mapping[str, Tensor]) -> State:
        new = {name: to_weight(self._layer(name), weights[name]) for name in weights}  # each (models * precisions, ...)
        for name in new:
            stays = self.levels[name].to(new[name].device).repeat(len(self._nets)) == 0  # (models * precisions,)
            if stays.any():
                new[name] = new[name].where(~stays.view(-1, *[1] * (new[name].ndim - 1)), state[name]["weight"])
        return {**state, **{name: {**state[name], "weight": weight} for name, weight in new.items()}}

    def _is_quantized(self, name: str, entry: int) -> bool:
        """Whether a layer does not stay float in one model at one precision."""
        return bool(self.levels[name][entry % len(self._bits)])

    def _each_precision(self, values: Tensor) -> Tensor:
        """(models, ...) -> (models * precisions, ...)."""
        return values.repeat_interleave(len(self._bits), dim=0)

    def _layer(self, name: str) -> Layer:
        return self._graph.layer(name)

    def _fisher(self, pieces: Sequence[Piece], images: Tensor) -> dict[str, Tensor]:
        """Importance of each unit's outputs, (models, ...)."""
        own = []
        for model, (net, few, seed) in enumerate(zip(self._nets, images, self._seeds, strict=True)):
            try:
                own.append(output_importance(self._graph, pieces, net, few, seed, self._batch_size))
            except ValueError as error:
                raise ValueError(f"model {model}: {error}") from error
        return {name: torch.stack([one[name] for one in own]) for name in self.units}

    # ---------------------------------------------------------------------------------------------- reports

    def _errors(self, piece: Piece) -> list[float]:
        """Relative squared error of the unit's output per model and precision; refuses outputs that overflow."""
        errors = []
        for entry, output in enumerate(self._prefix.quantized[piece.output]):
            target = self._prefix.float[piece.output][entry // len(self._bits)]
            power = target.double().square().sum().clamp_min(torch.finfo(torch.float64).tiny)
            errors.append(float((output - target).double().square().sum() / power))
            if not math.isfinite(errors[-1]):
                model, precision = divmod(entry, len(self._bits))
                raise ValueError(
                    f"unit {piece.name}: the quantized output of model {model} at bits {self._bits[precision]} is not "
                    "finite; take another method or more bits, or quantize the network after net.double()"
                )
        return errors

    def _report(
        self,
        piece: Piece,
        problem: UnitProblem,
        solution: Mapping[str, Solution],
        entry: int,
        error: float,
        seconds: float,
    ) -> UnitReport:
        model, precision = divmod(entry, len(self._bits))
        clipped = flipped = zeros = weights = distinct = dead = 0
        deficient = False
        for name, one in solution.items():
            if not self._is_quantized(name, entry):
                continue
            own = slice(entry * n_groups(self._layer(name)), (entry + 1) * n_groups(self._layer(name)))
            part = one.entries(own)
            weight, (beyond, other) = part.weight(), part.moved(problem.layers[name].weight[own])
            clipped, flipped, zeros = clipped + beyond, flipped + other, zeros + int((weight == 0).sum())
            distinct = max(distinct, int(weight.sort(dim=2).values.diff(dim=2).ne(0).sum(dim=2).max()) + 1)
            weights += weight.numel()
            gram = problem.layers[name].gram
            if gram is not None:
                alive = gram[own].diagonal(dim1=1, dim2=2) > 0  # (groups, columns)
                dead += int((~alive).sum())
                deficient |= _deficient(gram[own] + torch.diag_embed((~alive).to(gram)))
        shares = clipped / weights, flipped / weights, zeros / weights
        return UnitReport(piece.name, model, precision, error, distinct, *shares, dead, deficient, seconds)

    def _check_done(self) -> None:
        left = [piece.name for piece in self._pieces if piece.layers]
        if left:
            raise ValueError(
                f"units {left} are not quantized yet; call step() once for each of the {len(self.units)} units"
            )


def _deficient(gram: Tensor) -> bool:
    """Whether any of (groups, columns, columns) is singular, but for rounding."""
    floor = torch.finfo(gram.dtype).eps * gram.diagonal(dim1=1, dim2=2).amax(dim=1)  # (groups,)
    lowered = gram.double() - torch.diag_embed(floor.double().unsqueeze(1).expand(gram.shape[:2]))
    return bool((torch.linalg.cholesky_ex(lowered).info != 0).any())


def _vectorises(device: torch.device) -> bool:
    return device.type != "cpu"


def _ordinary(value: Tensor) -> Tensor:
    """A tensor that gradients may flow through, also if it was made in inference mode."""
    return value.clone() if value.is_inference() else value


def _ordinary_network(net: nn.Module) -> nn.Module:
    """The network, or a copy outside of inference mode of one that was built inside."""
    tensors = (*net.parameters(), *net.buffers())
    return copy.deepcopy(net) if any(tensor.is_inference() for tensor in tensors) else net


def check_quantizable(
    net: nn.Module, method: Method, bits: Sequence[Bits], image_shape: Sequence[int], n_models: int = 1
) -> None:
    """Refuse a network that cannot be traced, or that a method cannot take, before anything is trained.

    Costs some forward passes of random images: all checks of `NetworkQuantizer` are made, and the method quantizes a
    layer of eight weights at each precision, with one iteration if it has iterations.

    Args:
        net: with any weights; it is not changed.
        method: the quantizer.
        bits: the precisions.
        image_shape: of one image as the network takes it, without the example axis.
        n_models: how many are quantized together, for the memory that they need.

    Raises:
        ValueError: for the reason that would stop the quantization.
    """
    if isinstance(method, QAT):  # it rounds so, and solves nothing
        method = Nearest(grid=method.grid)
    net = copy.deepcopy(net).eval()
    generator = torch.Generator().manual_seed(0)
    own = next(net.parameters(), torch.zeros(()))
    images = torch.randn(1, 4, *image_shape, generator=generator).to(own)
    quantizer = NetworkQuantizer([net], images, method, bits, [0])
    if method.needs_gram:
        check_memory(quantizer._graph, n_models * len(bits), images.device)
    precisions = sorted({bits_of(name, one) for name in quantizer.levels for one in bits if not stays_float(name, one)})
    quick: Method = replace(method, iterations=1) if hasattr(method, "iterations") else method  # type: ignore[type-var]
    small = nn.Sequential(nn.Linear(4, 2)).eval()
    NetworkQuantizer([small], torch.randn(1, 8, 4, generator=generator), quick, precisions, [0]).step()
