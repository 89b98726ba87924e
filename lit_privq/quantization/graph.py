"""The graph of a network: traced, checked, cut into the units that are quantized one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

from torch import Tensor, fx, nn

from lit_privq.quantization.layers import NORMS, Layer, is_layer, modules_of
from lit_privq.quantization.tracing import State, attribute, call, drop_unused, ends, function_name, run_all, trace
from lit_privq.quantization.weights import check_fit, loose_parameters, unfit_layers

# By name, as torch.fx records a function, a method or an operator: x + y, x.add(y), torch.add(x, y), x += y.
_MERGES = ("add", "iadd", "cat", "concat", "concatenate")
_ACTIVATIONS = {name.lower() for name in nn.modules.activation.__all__} | {"leaky_relu", "log_sigmoid"}
_ATTENTION = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)


@dataclass(frozen=True)
class Piece:
    """Nodes of the graph that run in one go, from values that are kept to one value that is kept.

    Args:
        name: of the unit, or of the node where nothing is quantized.
        layers: names of the layers to quantize, in the order they run; empty where nothing is.
        nodes: what runs, in order.
        inputs: the nodes outside whose values enter.
        output: the last node.
    """

    name: str
    layers: tuple[str, ...]
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    output: fx.Node

    def state(self, modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
        """The parameters and buffers of one model that it uses."""
        names = [str(node.target) for node in self.nodes if node.op == "call_module"]
        tensors = {
            name: {**dict(modules[name].named_parameters()), **dict(modules[name].named_buffers())} for name in names
        }
        for node in self.nodes:
            if node.op == "get_attr" and isinstance(value := attribute(modules[""], str(node.target)), Tensor):
                tensors[str(node.target)] = {"": value}
        return {name: {key: tensor.detach() for key, tensor in own.items()} for name, own in tensors.items() if own}

    def run(self, modules: Mapping[str, nn.Module], state: State, inputs: Sequence[Tensor]) -> Tensor:
        """The output for one model, (examples, ...).

        Args:
            modules: by name; they only say what to compute.
            state: parameters and buffers of the model.
            inputs: values of `inputs`, (examples, ...).
        """
        values: dict[fx.Node, Any] = dict(zip(self.inputs, inputs, strict=True))
        for node in self.nodes:
            values[node] = call(node, values, modules, state)
        output = values[self.output]
        assert isinstance(output, Tensor)
        return output


class Graph:
    """A network as a graph with one input and one output, whose values can be kept between pieces.

    Args:
        net: any module that torch.fx can trace, in eval mode, taking one tensor of images and returning one tensor.
        images: some (examples, ...), to see what each node returns.
        is_float: whether the weight of a name stays float; such layers are not looked at.

    Attributes:
        modules: by name; under "" the network with the constants of its forward.
        layers: the layers to quantize, node -> name, in the order they run.
        weights: names of all weights, quantized or not: layers, other modules with weights, parameters of their own.

    Raises:
        ValueError: if the network cannot be traced, has a weight that cannot be quantized and does not stay float, or
            no layer that is quantized.
    """

    def __init__(self, net: nn.Module, images: Tensor, is_float: Callable[[str], bool] = lambda name: False) -> None:
        graph, root = trace(net)
        self.modules = {**modules_of(net), "": root}
        unfit = unfit_layers(graph, net)
        drop_unused(graph)
        self.nodes = list(graph.nodes)
        self.order = {node: position for position, node in enumerate(self.nodes)}
        self.image, self.output = ends(graph)
        self.kept = self._kept(*(run_all(self.nodes, self.modules, _copies(images, size)) for size in (2, 3)))
        values = run_all(self.nodes, self.modules, images)
        unfit |= loose_parameters(self.nodes, self.modules, values, self.kept)
        calls = {node: str(node.target) for node in self.nodes if node.op == "call_module"}
        found = {node: name for node, name in calls.items() if is_layer(self.modules[name]) and name not in unfit}
        self.weights = (*found.values(), *unfit)
        self.layers = {node: name for node, name in found.items() if not is_float(name)}
        check_fit({name: reason for name, reason in unfit.items() if not is_float(name)}, len(self.weights))
        if not self.layers:
            raise ValueError(
                f"{type(net).__name__} has no layer to quantize{' that is not left in float' if self.weights else ''}; "
                "supported are Linear, Conv1d, Conv2d, ConvTranspose2d, Embedding and MultiheadAttention"
            )

    def layer(self, name: str) -> Layer:
        """A layer by name."""
        layer = self.modules[name]
        assert is_layer(layer)
        return layer

    def pieces(self, unit: str) -> list[Piece]:
        """All that runs, in order: units of the wanted size, and single nodes between them.

        Args:
            unit: "layer" (each with the norm and activation behind it) or "block" (the smallest part with one input
                and one output around an addition or concatenation; layers outside blocks are units of their own).
        """
        ends = self._layer_units() if unit == "layer" else self._block_units()
        return self._schedule(ends, self.nodes)

    def inside(self, piece: Piece) -> list[Piece]:
        """The piece cut into layer units, from the same inputs to the same output."""
        return self._schedule(self._layer_units(), piece.nodes)

    def before(self, piece: Piece, layer: str) -> Piece:
        """What runs between the inputs of a piece and the input of one of its layers."""
        node = next(node for node in piece.nodes if node.target == layer)
        return self._piece(layer, (), node.all_input_nodes[0], set(piece.nodes))

    # ---------------------------------------------------------------------------------------------- pieces

    def _schedule(self, ends: Mapping[fx.Node, set[fx.Node]], nodes: Sequence[fx.Node]) -> list[Piece]:
        """Pieces for the kept nodes among ``nodes``; the inside of a unit is not kept."""
        wanted = [end for end in ends if end in nodes]
        hidden = set().union(*(ends[end] - {end} for end in wanted))
        pieces = []
        for node in nodes:
            if node in ends:
                names = [self.layers[inner] for inner in nodes if inner in ends[node] and inner in self.layers]
                pieces.append(self._piece(self._unit_name(names), tuple(names), node, ends[node]))
            elif node in self.kept and node not in hidden and node is not self.image:
                pieces.append(self._piece(node.name, (), node, {node}))
        return pieces

    def _piece(self, name: str, layers: tuple[str, ...], output: fx.Node, inside: set[fx.Node]) -> Piece:
        """Everything the output needs that is not kept; kept nodes stop the search unless they are inside."""
        nodes, inputs, queue = set[fx.Node](), set[fx.Node](), [output]
        while queue:
            node = queue.pop()
            if node in nodes or node in inputs:
                continue
            if node in self.kept and node not in inside:
                inputs.add(node)
                continue
            nodes.add(node)
            queue += node.all_input_nodes
        ordered = [tuple(sorted(some, key=self.order.__getitem__)) for some in (nodes, inputs)]
        return Piece(name, layers, ordered[0], ordered[1], output)

    def _unit_name(self, layers: Sequence[str]) -> str:
        """A layer's own name; for a block the module that holds these layers and no other, else first..last."""
        if len(layers) == 1:
            return layers[0]
        paths = zip(*(name.split(".") for name in layers), strict=False)
        prefix = ".".join(words[0] for words in takewhile(lambda words: len(set(words)) == 1, paths))
        alone = [name for name in self.layers.values() if name.startswith(f"{prefix}.")] == list(layers)
        return prefix if prefix and alone else f"{layers[0]}..{layers[-1]}"

    def _kept(self, few: Mapping[fx.Node, Any], more: Mapping[fx.Node, Any]) -> set[fx.Node]:
        """Nodes that return a tensor with one row per example; others are computed again wherever they are needed.

        Seen with two and with three examples, as an axis may have the length of one of these by chance.
        """
        depends = {self.image}
        for node in self.nodes:
            if depends.intersection(node.all_input_nodes):
                depends.add(node)
        return {node for node in depends if _n_rows(few.get(node)) == 2 and _n_rows(more.get(node)) == 3}

    # ---------------------------------------------------------------------------------------------- units

    def _layer_units(self) -> dict[fx.Node, set[fx.Node]]:
        """Last node of each layer unit -> its nodes."""
        units = {}
        for layer, name in self.layers.items():
            chain = [layer, *self._tail(layer)]
            while chain and chain[-1] not in self.kept:
                chain.pop()
            if not chain:
                reason = (
                    f"layer {name}: its output does not have one row per example, so it cannot be calibrated; "
                    "reshape inside the layer's module, or leave the first axis to the examples"
                )
                check_fit({name: reason}, len(self.weights))
            units[chain[-1]] = set(chain)
        return units

    def _tail(self, node: fx.Node) -> list[fx.Node]:
        """The norm and the activation behind a node, each where it is the only one that uses the value."""
        tail: list[fx.Node] = []
        for wanted in (self._is_norm, self._is_activation):
            users = list(node.users)
            if len(users) == 1 and wanted(users[0]) and users[0].all_input_nodes == [node]:
                node = users[0]
                tail.append(node)
        return tail

    def _is_norm(self, node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], NORMS)

    def _is_activation(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, _ATTENTION)
        return function_name(node).rstrip("_") in _ACTIVATIONS

    def _block_units(self) -> dict[fx.Node, set[fx.Node]]:
        """Last node of each unit -> its nodes, with residual blocks as units."""
        units: dict[fx.Node, set[fx.Node]] = {}
        dense: list[set[fx.Node]] = []  # regions whose inner merges feed the outside of their own region
        regions = [self._region(merge) for merge in self.nodes if self._is_merge(merge)]
        merges = {region[-1] for region in regions if self._holds_layer(region)}
        taken: set[fx.Node] = set()
        for region in sorted(regions, key=len):  # inner blocks before those around them
            inside = set(region)
            # What is used outside of a unit must be kept, and a unit keeps its output alone: where a region leaks, its
            # layers remain units of their own.
            if not self._holds_layer(region) or taken & inside or self._leaks(region):
                continue
            if (merges & inside) - {region[-1]}:  # a DenseNet's block would be one unit of all its layers
                dense.append(inside)
                continue
            tail = self._tail(region[-1])
            end = next((node for node in (*tail[::-1], region[-1]) if node in self.kept), None)
            if end is not None:
                units[end] = inside | {node for node in tail if self.order[node] <= self.order[end]}
                taken |= units[end]
        alone = {end: nodes for end, nodes in self._layer_units().items() if not nodes & taken}
        return units | self._chained(alone, dense)

    def _chained(
        self, units: dict[fx.Node, set[fx.Node]], dense: Sequence[set[fx.Node]]
    ) -> dict[fx.Node, set[fx.Node]]:
        """Layer units in a row inside a densely connected region become one: the layers of a DenseNet."""
        chained: dict[fx.Node, set[fx.Node]] = {}
        for end, nodes in units.items():
            start = min(nodes, key=self.order.__getitem__)
            link, before = [], start.all_input_nodes[0]
            while before not in chained and len(before.all_input_nodes) == 1 and len(before.users) == 1:
                link.append(before)
                before = before.all_input_nodes[0]
            joined = before in chained and len(before.users) == 1
            if joined and any(start in region and before in region for region in dense):
                nodes = chained.pop(before) | set(link) | nodes
            chained[end] = nodes
        return chained

    def _is_merge(self, node: fx.Node) -> bool:
        """Whether it adds or concatenates at least two values."""
        return function_name(node).rstrip("_") in _MERGES and len(self._sources(node)) > 1

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        return [source for source in node.all_input_nodes if source in self._parents]

    def _holds_layer(self, nodes: Iterable[fx.Node]) -> bool:
        return any(node in self.layers for node in nodes)

    def _leaks(self, region: Sequence[fx.Node]) -> bool:
        """Whether a value inside is used outside."""
        inside = set(region)
        return any(user not in inside for node in region[:-1] for user in node.users)

    def _region(self, merge: fx.Node) -> list[fx.Node]:
        """All nodes between the last node that every path to the merge passes, and the merge, in order."""
        entry, region, queue = self._parents[merge], set[fx.Node](), [merge]
        while queue:
            node = queue.pop()
            if node is not entry and node not in region:
                region.add(node)
                queue += self._sources(node)
        return sorted(region, key=self.order.__getitem__)

    @cached_property
    def _parents(self) -> dict[fx.Node, fx.Node]:
        """Immediate dominators: the last node that every path from the image to a node passes.

        In one sweep, as the nodes of a graph without cycles come in order. Source: Cooper, Harvey & Kennedy 2001, "A
        simple, fast dominance algorithm".
        """
        parents, depth = {self.image: self.image}, {self.image: 0}
        for node in self.nodes:
            sources = [source for source in node.all_input_nodes if source in parents]
            if not sources or node is self.image:
                continue
            common = sources[0]
            for other in sources[1:]:
                while common is not other:
                    if depth[common] >= depth[other]:
                        common = parents[common]
                    else:
                        other = parents[other]
            parents[node], depth[node] = common, depth[common] + 1
        return parents


def _copies(images: Tensor, size: int) -> Tensor:
    """The first image so many times."""
    return images[:1].expand(size, *images.shape[1:])


def _n_rows(value: object) -> int | None:
    """Length of the first axis of a tensor; None for anything else."""
    return len(value) if isinstance(value, Tensor) and value.ndim else None
