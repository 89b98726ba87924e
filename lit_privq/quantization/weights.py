"""The weights of a network: those of layers that can be quantized, and those that cannot, each with the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from lit_privq.quantization.layers import KINDS, NORMS, Layer, is_layer, modules_of
from lit_privq.quantization.tracing import attribute, call, function_name

_SUPPORTED = "supported are Linear, Conv1d, Conv2d, ConvTranspose2d, Embedding and MultiheadAttention of one tensor"
_FORWARDS = ("forward", "_conv_forward", "__call__")
_COLUMNS = 16
"""Outputs of a node that are looked at; a product mixes in all of them, so that a few suffice."""


def unfit_layers(graph: fx.Graph, net: nn.Module) -> dict[str, str]:
    """Why layers and other modules with weights cannot be quantized, by name.

    Args:
        graph: of the network, with the nodes that nothing reads.
        net: the network.
    """
    modules, calls = modules_of(net), [node for node in graph.nodes if node.op == "call_module"]
    unfit = {}
    for name in dict.fromkeys(str(node.target) for node in calls):
        if _is_other(modules[name]):
            unfit[name] = f"layer {name} is a {type(modules[name]).__name__}, which cannot be quantized ({_SUPPORTED})"
    whole = tuple(f"{name}." for name in unfit)  # layers inside are theirs
    layers = {name: one for name, one in modules.items() if is_layer(one) and not name.startswith(whole)}
    counts, used, read = Counter(str(node.target) for node in calls), _used(graph), _weights_read(graph)
    for name, layer in layers.items():
        node = next((node for node in calls if node.target == name), None)
        reason = (
            _kind_reason(name, layer)
            or read.get(name)
            or _call_reason(name, layer, counts[name], node, used=node in used)
            or _tied_reason(name, layers)
        )
        if reason:
            unfit[name] = reason
    return unfit


def _is_other(module: nn.Module) -> bool:
    """Whether a module has weights of its own that no quantizer here understands."""
    known = is_layer(module) or isinstance(module, NORMS)
    return not known and any(parameter.ndim > 1 for parameter in module.parameters())


def _used(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that the output needs."""
    last, *before = reversed(graph.nodes)
    used = {last}
    for node in before:
        if used.intersection(node.users):
            used.add(node)
    return used


def _weights_read(graph: fx.Graph) -> dict[str, str]:
    """Layers whose weight is read otherwise than by calling them, with the reason; its type and shape may be read."""
    read = {}
    for node in graph.nodes:
        name = str(node.target).removesuffix(".weight")
        users = [function_name(user) for user in node.users if not _is_description(user)]
        if node.op == "get_attr" and str(node.target) != name and users:
            read[name] = (
                f"layer {name}: its weight is used by {users[0]} without calling the layer; "
                "write the forward so that it calls the layer, and uses its weight nowhere else"
            )
    return read


def _is_description(node: fx.Node) -> bool:
    """Whether it reads a tensor's type or shape, and no value."""
    name = node.args[1] if function_name(node) == "getattr" else function_name(node)
    return name in ("dtype", "device", "shape", "ndim", "size", "dim", "numel")


def _kind_reason(name: str, layer: Layer) -> str | None:
    """Why a layer is not what its kind says.

    What is written to a weight that is computed from others is overwritten before the layer runs, and of a forward of
    its own nothing is known.
    """
    kind, plain = type(layer), next(one for one in KINDS if isinstance(layer, one))
    if any(getattr(kind, method, None) is not getattr(plain, method, None) for method in _FORWARDS):
        return (
            f"layer {name} is a {kind.__name__} with a forward of its own, of which no quantizer "
            f"here knows what it computes; make it a module that holds a plain {plain.__name__} and calls it"
        )
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        return (
            f"layer {name} computes its weight instead of holding it as a parameter; "
            'keep the computed one first: torch.nn.utils.parametrize.remove_parametrizations(layer, "weight"), '
            "or for the old functions torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove"
        )
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        return f"layer {name} rescales its weight in forward; make it an Embedding without max_norm"
    return None


def _call_reason(name: str, layer: Layer, times: int, node: fx.Node | None, *, used: bool) -> str | None:
    """Why a layer does not run as it must: once, on one tensor, for the output."""
    if times != 1 or node is None:
        how = "never runs" if not times else f"runs {times} times"
        return f"layer {name} {how} in forward; a layer must run exactly once to be calibrated"
    if not used:
        return f"layer {name} runs, but the network's output does not depend on it; remove the layer, or use its output"
    if len(node.args) + len(node.kwargs) > 1:
        what = f"give a {type(layer).__name__} its options when it is made"
        return f"layer {name} is called with more than its input; {what}"
    return None


def _tied_reason(name: str, layers: Mapping[str, Layer]) -> str | None:
    same = [other for other, layer in layers.items() if layer.weight is layers[name].weight]
    return f"layers {' and '.join(same)} share one weight; each layer needs a weight of its own" if same[1:] else None


def check_fit(unfit: Mapping[str, str], n_weights: int) -> None:
    """Refuse a network with weights that cannot be quantized, and say how to leave them in float.

    Args:
        unfit: the reason for each, by name.
        n_weights: of the network, these among them.

    Raises:
        ValueError: with the first reason and the map of bits that leaves all of them in float.
    """
    if not unfit:
        return
    bits = json.dumps({"*": 2, **dict.fromkeys(unfit, 32)})
    many = f"{len(unfit)} of {n_weights} weights cannot be quantized, the first because " if len(unfit) > 1 else ""
    raise ValueError(
        f"{many}{next(iter(unfit.values()))}; or leave {'them' if many else 'it'} in float, as with bits {bits}"
    )


# ------------------------------------------------------------------------------------------------ loose parameters


def loose_parameters(
    nodes: Sequence[fx.Node], modules: Mapping[str, nn.Module], values: Mapping[fx.Node, Any], kept: set[fx.Node]
) -> dict[str, str]:
    """Parameters outside of layers that are weights by what the graph does with them, each with the reason.

    A parameter is a weight if one number of an output depends on several of its numbers: it meets data and is reduced
    over, as in a matrix product, or is picked from by data, as in an embedding. One with two or more axes may also
    meet data in a product and be reduced over in a later node, as in ``(x[..., None] * w).sum(1)``. Scales, shifts and
    positions are none. No list of function names could be complete; this asks autograd.

    Args:
        nodes: of the graph, in order.
        modules: by name; under "" what was traced.
        values: of every node, for at least two images.
        kept: nodes whose values have one row per image.
    """
    loose: dict[str, str] = {}
    data = _data(nodes, values)
    for node in nodes:
        if node.op != "get_attr" or str(node.target) in loose:
            continue
        value, owner = attribute(modules[""], str(node.target)), modules.get(str(node.target).rpartition(".")[0])
        if isinstance(value, nn.Parameter) and value.numel() > 1 and not (owner is not None and is_layer(owner)):
            where = _Followed(node, value, modules, values, kept, data).reduced_in(nodes)
            if where:
                loose[str(node.target)] = (
                    f"parameter {node.target} is used by {where} directly, so it cannot be quantized; "
                    "make it the weight of a layer"
                )
    return loose


def _data(nodes: Sequence[fx.Node], values: Mapping[fx.Node, Any]) -> set[fx.Node]:
    """Nodes whose values depend on the images' values; sizes do not tie a tensor to the images."""
    data = {nodes[0]}
    for node in nodes[1:]:
        if data.intersection(node.all_input_nodes) and any(
            isinstance(leaf, Tensor) for leaf in tree_leaves(values.get(node))
        ):
            data.add(node)
    return data


class _Followed:
    """A parameter on its way through the graph, until it is reduced over or a module with parameters takes it."""

    def __init__(
        self,
        source: fx.Node,
        value: nn.Parameter,
        modules: Mapping[str, nn.Module],
        values: Mapping[fx.Node, Any],
        kept: set[fx.Node],
        data: set[fx.Node],
    ) -> None:
        self._parameter = value.detach().clone().requires_grad_()
        self._modules, self._values, self._kept, self._data = modules, values, kept, data
        self._live: dict[fx.Node, Any] = {source: self._parameter}  # what was made of the parameter
        self._joined = set[fx.Node]()  # of that, what data have been multiplied with

    @torch.enable_grad()
    def reduced_in(self, nodes: Sequence[fx.Node]) -> str | None:
        """The name of the first function that reduces over the parameter."""
        for node in nodes:
            sources = [source for source in node.all_input_nodes if source in self._live]
            module = self._modules.get(str(node.target)) if node.op == "call_module" else None
            if not sources or node.op == "output" or (module is not None and any(True for _ in module.parameters())):
                continue
            meets = any(source in self._data for source in node.all_input_nodes)
            if not meets:
                self._live[node] = self._run(node)  # a transpose, a slice, a rescaled one
                continue
            value = self._run(node)
            leaves = _differentiable(value)
            if any(self._mixes(leaf, node) for leaf in leaves):
                return function_name(node) or str(node.target)
            matrix = any(_n_axes(leaf) > 1 for source in sources for leaf in _differentiable(self._live[source]))
            if leaves and (self._joined.intersection(sources) or (matrix and self._multiplies(node))):
                self._live[node] = value
                self._joined.add(node)
        return None

    def _run(self, node: fx.Node, seed: int = 0) -> Any:  # noqa: ANN401
        """The node's value, with data of random numbers, as an activation may happen to be 0."""
        generator = torch.Generator().manual_seed(seed)
        own = {one: self._values[one] for one in node.all_input_nodes}
        own |= {one: _random(value, generator) for one, value in own.items() if one in self._data}
        own |= {one: self._live[one] for one in own if one in self._live}
        return call(node, own, self._modules, {})

    def _mixes(self, value: Tensor, node: fx.Node) -> bool:
        """Whether an output, over all examples, depends on more than one number of the parameter."""
        rows = value.flatten(1) if value.ndim > 1 and node in self._kept else value.reshape(1, -1)
        chosen = torch.linspace(0, rows.shape[1] - 1, min(_COLUMNS, rows.shape[1])).long()
        return any(int(self._gradient(rows[:, column].sum()).count_nonzero()) > 1 for column in chosen)

    def _multiplies(self, node: fx.Node) -> bool:
        """Whether what the parameter adds to the output depends on the data; that of a shift does not."""
        first, second = (
            torch.stack([self._gradient(leaf.sum()) for leaf in _differentiable(self._run(node, seed))])
            for seed in (0, 1)
        )
        return not torch.equal(first, second)

    def _gradient(self, output: Tensor) -> Tensor:
        try:
            (gradient,) = torch.autograd.grad(output, self._parameter, retain_graph=True, allow_unused=True)
        except RuntimeError:  # a function without a derivative: taken for a product
            return torch.ones_like(self._parameter)
        return torch.zeros_like(self._parameter) if gradient is None else gradient.to_dense()


def _differentiable(value: Any) -> list[Tensor]:  # noqa: ANN401
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.requires_grad and leaf.numel()]


def _random(value: Any, generator: torch.Generator) -> Any:  # noqa: ANN401
    """Data of the same shape and type: positive numbers, or indices in the same range."""
    if not isinstance(value, Tensor) or value.dtype == torch.bool or not value.numel():
        return value
    if value.is_floating_point() and value.layout == torch.strided:
        drawn = torch.rand(value.shape, generator=generator, dtype=torch.float32) + 0.5
    elif not value.is_floating_point() and not value.is_complex():
        drawn = torch.randint(int(value.min()), int(value.max()) + 1, value.shape, generator=generator)
    else:
        return value
    return drawn.to(value)


def _n_axes(value: Tensor) -> int:
    """Along how many axes a tensor varies; expanded ones and those of length 1 are none."""
    return sum(size > 1 and stride != 0 for size, stride in zip(value.shape, value.stride(), strict=True))
