"""The graph of a network: traced, checked, cut into the units that are quantized one after the other."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from lit_privq.quantization.layers import Layer

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_MERGES = ("add", "iadd", "cat", "concat", "concatenate")
_MATRIX_PRODUCTS = (
    *("matmul", "imatmul", "mm", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm", "inner", "tensordot", "einsum"),
    *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("scaled_dot_product_attention", "multi_head_attention_forward", "embedding", "embedding_bag"),
)
_ACTIVATIONS = {name.lower() for name in nn.modules.activation.__all__} | {"leaky_relu", "log_sigmoid"}
_FORWARDS = ("forward", "_conv_forward", "__call__")
_ATTENTION = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)


State: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Parameters and buffers by module and by name in the module; an attribute the graph reads has the name ""."""


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
            if node.op == "get_attr" and isinstance(value := _attribute(modules[""], str(node.target)), Tensor):
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
            values[node] = _call(node, values, modules, state)
        output = values[self.output]
        assert isinstance(output, Tensor)
        return output


class Graph:
    """A network as a graph with one input and one output, whose values can be kept between pieces.

    Args:
        net: any module that `torch.fx` can trace, in eval mode, taking one tensor of images and returning one tensor.
        image: one example (1, ...), to see what each node returns.

    Raises:
        ValueError: if the network cannot be traced, a layer is of an unsupported kind, computes its weight, never runs
            or runs twice, or if two layers share a weight.
    """

    def __init__(self, net: nn.Module, image: Tensor) -> None:
        _check_layers(net)
        graph = _trace(net)
        self.modules = dict(net.named_modules())
        self.layers = _layers(graph, net)  # node -> name, in order
        _without_side_effects(graph, self.modules)
        self.nodes = list(graph.nodes)
        self.order = {node: position for position, node in enumerate(self.nodes)}
        self.image, self.output = _ends(self.nodes)
        few, more = (_probe(self.nodes, net, image, size) for size in (2, 3))
        self._check_products(few)
        self.kept = self._kept(few, more)

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
        """Nodes that return a tensor with one row per example; others are computed again wherever they are needed."""
        depends = {self.image}
        for node in self.nodes:
            if depends.intersection(node.all_input_nodes):
                depends.add(node)
        return {node for node in depends if _n_rows(few.get(node)) == 2 and _n_rows(more.get(node)) == 3}

    def _check_products(self, values: Mapping[fx.Node, Any]) -> None:
        """Refuse a parameter that enters a matrix product without a module around it: it would silently stay float.

        Parameters are followed through whatever is done to them alone, such as a transpose; sizes do not tie them to
        the images, sums and products with activations do.
        """
        names: dict[fx.Node, str] = {}  # made of parameters alone -> the first of them
        data = {self.image}
        for node in self.nodes:
            parameters = [names[source] for source in node.all_input_nodes if source in names]
            if parameters and _function_name(node) in _MATRIX_PRODUCTS:
                raise ValueError(
                    f"parameter {parameters[0]} is used by {_function_name(node)} directly, so it cannot be quantized; "
                    "make it the weight of a Conv2d or Linear, or a buffer if it is meant to stay float"
                )
            if node.op == "get_attr":
                value = _attribute(self.modules[""], str(node.target))
                if isinstance(value, nn.Parameter) and value.ndim:
                    names[node] = str(node.target)
            elif any(isinstance(leaf, Tensor) for leaf in tree_leaves(values.get(node))):
                if data.intersection(node.all_input_nodes):
                    data.add(node)
                elif parameters:
                    names[node] = parameters[0]

    # ---------------------------------------------------------------------------------------------- units

    def _layer_units(self) -> dict[fx.Node, set[fx.Node]]:
        """Last node of each layer unit -> its nodes."""
        units = {}
        for layer, name in self.layers.items():
            chain = [layer, *self._tail(layer)]
            while chain and chain[-1] not in self.kept:
                chain.pop()
            if not chain:
                raise ValueError(
                    f"layer {name}: its output does not have one row per example, so it cannot be calibrated; "
                    "reshape inside the layer's module, or leave the first axis to the examples"
                )
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
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], _NORMS)

    def _is_activation(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, _ATTENTION)
        return _function_name(node).rstrip("_") in _ACTIVATIONS

    def _block_units(self) -> dict[fx.Node, set[fx.Node]]:
        """Last node of each unit -> its nodes, with residual blocks as units."""
        units: dict[fx.Node, set[fx.Node]] = {}
        dense: list[set[fx.Node]] = []  # regions whose inner merges feed the outside of their own region
        regions = [self._region(merge) for merge in self.nodes if self._is_merge(merge)]
        merges = {region[-1] for region in regions if self._holds_layer(region)}
        taken: set[fx.Node] = set()
        for region in sorted(regions, key=len):
            inside = set(region)
            if not self._holds_layer(region) or taken & inside or self._leaks(region):
                continue
            if (merges & inside) - {region[-1]}:
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
        return _function_name(node).rstrip("_") in _MERGES and len(self._sources(node)) > 1

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
        """Immediate dominators: the last node that every path from the image to a node passes."""
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


# --------------------------------------------------------------------------------------------------- tracing


class _Tracer(fx.Tracer):
    """Keeps layers whole: a subclass of Conv2d or Linear that computes what these compute is not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of the module is one node of the graph."""
        return _is_layer(m) or super().is_leaf_module(m, module_qualified_name)


def _trace(net: nn.Module) -> fx.Graph:
    if _is_layer(net):
        raise ValueError(
            f"each layer needs a name, and the network is a {type(net).__name__} itself; give nn.Sequential(net)"
        )
    try:
        return _Tracer().trace(net)
    except Exception as error:
        raise ValueError(
            f"{type(net).__name__} cannot be traced by torch.fx, so its units are not known: {error}; "
            "its forward must not branch on the values of tensors"
        ) from error


def _layers(graph: fx.Graph, net: nn.Module) -> dict[fx.Node, str]:
    """Layer nodes and their names, in the order they run; refuses what cannot be quantized."""
    modules = dict(net.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    leaves = Counter(str(node.target) for node in calls)
    for name in leaves:
        _check_kind(name, modules[name])
    _check_called(graph, {name for name, module in modules.items() if _is_layer(module)})
    for name, module in modules.items():
        if _is_layer(module) and leaves[name] != 1:
            times = "never runs" if not leaves[name] else f"runs {leaves[name]} times"
            raise ValueError(f"layer {name} {times} in forward; a layer must run exactly once to be calibrated")
    layers = {node: str(node.target) for node in calls if _is_layer(modules[str(node.target)])}
    _check_untied({name: modules[name] for name in layers.values()})
    if not layers:
        raise ValueError(f"{type(net).__name__} has no layer to quantize; supported are Conv2d and Linear")
    return layers


def _is_layer(module: nn.Module) -> TypeGuard[Layer]:
    return isinstance(module, (nn.Conv2d, nn.Linear))


def _check_layers(net: nn.Module) -> None:
    """Refuse layers that are not what their kind says.

    What is written to a weight that is computed from others is overwritten before the layer runs, and of a forward of
    its own nothing is known.
    """
    for name, module in net.named_modules():
        if not _is_layer(module):
            continue
        kind, plain = type(module), nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear
        if any(getattr(kind, method, None) is not getattr(plain, method, None) for method in _FORWARDS):
            raise ValueError(
                f"layer {name or kind.__name__} is a {kind.__name__} with a forward of its own, of which no quantizer "
                f"here knows what it computes; make it a module that holds a plain {plain.__name__} and calls it"
            )
        if "weight" not in dict(module.named_parameters(recurse=False)):
            raise ValueError(
                f"layer {name or kind.__name__} computes its weight instead of holding it as a parameter; "
                'keep the computed one first: torch.nn.utils.parametrize.remove_parametrizations(layer, "weight"), '
                "or for the old functions torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove"
            )


def _check_kind(name: str, module: nn.Module) -> None:
    """Refuse a module with weight matrices that no quantizer here understands."""
    if _is_layer(module) or isinstance(module, _NORMS):
        return
    if any(parameter.ndim > 1 for parameter in module.parameters()):
        raise ValueError(
            f"layer {name} is a {type(module).__name__}, which cannot be quantized; "
            "supported are Conv2d and Linear (of any groups, stride, padding and dilation)"
        )


def _check_called(graph: fx.Graph, layers: Collection[str]) -> None:
    """Refuse a layer whose weight is read otherwise than by calling the layer; its type and shape may be."""
    for node in graph.nodes:
        name = str(node.target).removesuffix(".weight")
        users = [_function_name(user) for user in node.users if not _is_description(user)]
        if node.op == "get_attr" and name in layers and str(node.target) != name and users:
            raise ValueError(
                f"layer {name}: its weight is used by {users[0]} without calling the layer, so it cannot be quantized; "
                "write the forward so that it calls the layer, and uses its weight nowhere else"
            )


def _is_description(node: fx.Node) -> bool:
    """Whether it reads a tensor's type or shape, and no value."""
    attribute = node.args[1] if _function_name(node) == "getattr" else _function_name(node)
    return attribute in ("dtype", "device", "shape", "ndim", "size", "dim", "numel")


def _check_untied(layers: Mapping[str, nn.Module]) -> None:
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        first = owner.setdefault(id(layer.weight), name)
        if first != name:
            raise ValueError(f"layers {first} and {name} share one weight; each layer needs a weight of its own")


def _ends(nodes: Sequence[fx.Node]) -> tuple[fx.Node, fx.Node]:
    """The node of the images and the node that is returned."""
    images = [node for node in nodes if node.op == "placeholder" and not node.args]
    if len(images) != 1:
        raise ValueError(f"the network must take exactly one tensor; forward has {len(images)} required arguments")
    result = nodes[-1].args[0]
    if not isinstance(result, fx.Node):
        raise ValueError(f"the network must return one tensor; got {result}")
    return images[0], result


def _without_side_effects(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Let everything after an in-place operation read its result, as `_call` leaves the operand untouched."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.all_input_nodes and _in_place(node, modules):
            node.meta["in_place"] = True
            later = {user for user in node.all_input_nodes[0].users if order[user] > order[node]}
            node.all_input_nodes[0].replace_all_uses_with(node, delete_user_cb=later.__contains__)
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)  # nothing reads it


def _in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the node overwrites its first operand."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = _function_name(node)
    if node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator":
        return name in ("iadd", "isub", "imul", "itruediv", "imatmul", "ipow")
    if name.endswith("_") and not name.endswith("__"):
        return True
    if node.op != "call_function" or "inplace" not in _parameters(node.target):
        return False
    return bool(node.kwargs.get("inplace", node.args[_parameters(node.target).index("inplace") :][:1] == (True,)))


def _parameters(function: object) -> list[str]:
    try:
        assert callable(function)
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin
        return []


def _function_name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", "")) if node.op == "call_function" else ""


# --------------------------------------------------------------------------------------------------- running


def _call(node: fx.Node, values: Mapping[fx.Node, Any], modules: Mapping[str, nn.Module], state: State) -> Any:  # noqa: ANN401
    """The value of a node, of any type; the operand of an in-place operation is copied first."""
    name = str(node.target)
    if node.op == "get_attr":
        return state[name][""] if name in state else _attribute(modules[""], name)
    if node.op == "placeholder":  # an argument that keeps its default
        return node.args[0] if node.args else None
    args: tuple[Any, ...] = fx.node.map_arg(node.args, values.__getitem__)
    kwargs: dict[str, Any] = fx.node.map_arg(node.kwargs, values.__getitem__)
    if node.meta.get("in_place"):
        args = (args[0].clone(), *args[1:])
    if node.op == "call_function":
        assert callable(node.target)
        return node.target(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], name)(*args[1:], **kwargs)
    module = modules[name]
    return functional_call(module, dict(state[name]), args, kwargs) if name in state else module(*args, **kwargs)


def _attribute(module: nn.Module, name: str) -> object:
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last)


@torch.no_grad()
def _probe(nodes: Sequence[fx.Node], net: nn.Module, image: Tensor, size: int) -> dict[fx.Node, Any]:
    """The value of every node, for so many copies of one example."""
    modules, values = dict(net.named_modules()), dict[fx.Node, Any]()
    for node in nodes[:-1]:
        is_image = node.op == "placeholder" and not node.args
        values[node] = image.expand(size, *image.shape[1:]) if is_image else _call(node, values, modules, {})
    return values


def _n_rows(value: object) -> int | None:
    """Length of the first axis of a tensor; None for anything else."""
    return len(value) if isinstance(value, Tensor) and value.ndim else None
