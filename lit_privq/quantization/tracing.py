"""Tracing: a network as a torch.fx graph of its layers, with one input, one output and no side effects."""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from lit_privq.quantization.layers import is_layer

State: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Parameters and buffers by module and by name in the module; an attribute the graph reads has the name ""."""

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


class _Tracer(fx.Tracer):
    """Keeps layers whole, and shows the projections of attention.

    A subclass of a layer that computes what the layer computes is not looked into. torch.fx would keep
    `nn.MultiheadAttention` whole too, and with it the projections that are to be quantized.
    """

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:  # noqa: ANN401
        """The images are the only placeholder, so that all other arguments of forward keep their defaults.

        torch.fx itself would make a placeholder of each, whose default is then unknown while tracing: a branch on
        ``mask is None`` would go the wrong way.
        """
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of the module is one node of the graph."""
        return is_layer(m) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401
        """Self-attention becomes two linear layers and a function; all else is as in torch.fx."""
        if isinstance(m, nn.MultiheadAttention):
            call = inspect.signature(nn.MultiheadAttention.forward).bind(m, *args, **kwargs)
            call.apply_defaults()
            if _attends_to_itself(m, call.arguments):
                return self._attention(m, self.path_of_module(m), call.arguments)
        return super().call_module(m, forward, args, kwargs)

    def _attention(self, m: nn.MultiheadAttention, name: str, call: Mapping[str, Any]) -> tuple[Any, Any]:
        """The output and the weights of attention, both proxies; unused weights are dropped from the graph later."""
        tokens = call["query"] if m.batch_first else call["query"].transpose(0, 1)  # (examples, tokens, features)
        projected = self.create_proxy("call_module", f"{name}.in_proj", (tokens,), {})
        masks = (call["attn_mask"], call["key_padding_mask"])
        weights = self.create_proxy("call_function", attention_weights, (projected, m.num_heads, *masks), {})
        mixed = self.create_proxy("call_function", attended, (projected, weights), {})
        output = self.create_proxy("call_module", f"{name}.out_proj", (mixed,), {})
        shown = weights.mean(1) if call["average_attn_weights"] else weights
        return output if m.batch_first else output.transpose(0, 1), shown if call["need_weights"] else None


def _attends_to_itself(m: nn.MultiheadAttention, call: Mapping[str, Any]) -> bool:
    """Whether one tensor is query, key and value, and nothing is appended to it."""
    same = call["query"] is call["key"] is call["value"]
    return same and m.in_proj_weight is not None and m.bias_k is None and not m.add_zero_attn


def attention_weights(
    projected: Tensor, n_heads: int, attn_mask: Tensor | None, key_padding_mask: Tensor | None
) -> Tensor:
    """Attention weights of `nn.MultiheadAttention`, from what leaves its input projection.

    Args:
        projected: queries, keys and values, (examples, tokens, 3 * features).
        n_heads: in how many heads the features fall.
        attn_mask: (tokens, tokens) or (examples * heads, tokens, tokens); added, or where True, not attended to.
        key_padding_mask: (examples, tokens), likewise.

    Returns:
        (examples, heads, tokens, tokens), each row of sum 1.
    """
    queries, keys, _ = _heads(projected, n_heads)
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5  # (examples, heads, tokens, tokens)
    if attn_mask is not None:
        added = _added(attn_mask, scores)
        scores = scores + (added.unflatten(0, (-1, n_heads)) if added.ndim == 3 else added)
    if key_padding_mask is not None:
        scores = scores + _added(key_padding_mask, scores)[:, None, None]
    weights: Tensor = scores.softmax(dim=-1)
    return weights


def attended(projected: Tensor, weights: Tensor) -> Tensor:
    """What enters the output projection: values mixed by attention weights, (examples, tokens, features)."""
    values = _heads(projected, weights.shape[1])[2]
    mixed: Tensor = (weights @ values).transpose(1, 2).flatten(2)
    return mixed


def _heads(projected: Tensor, n_heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values, each (examples, heads, tokens, features / heads)."""
    heads = projected.unflatten(2, (3, n_heads, -1))  # (examples, tokens, 3, heads, features / heads)
    return tuple(heads.permute(2, 0, 3, 1, 4).unbind(0))


def _added(mask: Tensor, scores: Tensor) -> Tensor:
    """A mask as numbers to add: minus infinity where a boolean one is True."""
    return (
        torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask
    )


# --------------------------------------------------------------------------------------------------- tracing


def trace(net: nn.Module) -> tuple[fx.Graph, nn.Module]:
    """The graph of a network in which every node reads values and none overwrites them, and what it reads constants of.

    Nodes that nothing reads are still there; see `drop_unused`.

    Args:
        net: any module that torch.fx can trace, in eval mode, whose forward takes one tensor beside arguments with
            defaults.

    Returns:
        The graph, and the network again with the constants that its forward makes, as attributes of their own: torch.fx
        adds them to what it traces, and the network shall stay as it is.

    Raises:
        ValueError: if the network cannot be traced, with the line of code that is the reason.
    """
    _check_traceable(net)
    root = copy.copy(net)
    try:
        graph = _Tracer().trace(root)
    except Exception as error:
        raise ValueError(
            f"{type(net).__name__} cannot be traced by torch.fx, so its units are not known: {_reason(error)}"
        ) from error
    _without_side_effects(graph, dict(net.named_modules()))
    return graph, root


def ends(graph: fx.Graph) -> tuple[fx.Node, fx.Node]:
    """The node of the images and the node that is returned.

    Raises:
        ValueError: if the network returns anything but one tensor.
    """
    nodes = list(graph.nodes)
    result = nodes[-1].args[0]
    if not isinstance(result, fx.Node):
        raise ValueError(f"the network must return one tensor; got {result}")
    return nodes[0], result


def drop_unused(graph: fx.Graph) -> None:
    """Remove the nodes whose values nothing reads."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _check_traceable(net: nn.Module) -> None:
    """Refuse what no tracer looks into, and a forward that takes more than one tensor."""
    if is_layer(net):
        raise ValueError(
            f"each layer needs a name, and the network is a {type(net).__name__} itself; give nn.Sequential(net)"
        )
    for name, module in net.named_modules():
        what, remedy = f"{name or 'the network'} is a {type(module).__name__}", None
        if isinstance(module, _WRAPPERS):
            remedy = "which copies it to several devices; give the network inside, its attribute module"
        elif hasattr(module, "_orig_mod"):
            remedy = "a compiled network; give the one that torch.compile was called with, its attribute _orig_mod"
        elif isinstance(module, torch.jit.ScriptModule):
            remedy = "a scripted network, whose Python code is gone; give the module it was made from"
        if remedy:
            raise ValueError(f"{what}, {remedy}")
    _, *others = inspect.signature(type(net).forward).parameters.values()
    needed = [
        one.name
        for one in others[1:]
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if not others or needed:
        takes = f"also needs {', '.join(needed)}; give these defaults" if needed else "takes none"
        raise ValueError(f"the network must take exactly one tensor; forward {takes}")


def _reason(error: Exception) -> str:
    """Why a network could not be traced, with the line of its own code where the trace ended."""
    torch_folder = Path(torch.__file__).parent
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if torch_folder not in Path(frame.filename).parents and frame.filename != __file__
    ]
    line = f'"{own[-1].line}" (line {own[-1].lineno} of {Path(own[-1].filename).name})' if own else "its forward"
    if "control flow" in str(error):
        return (
            f"{line} decides by a value or a shape that is known only when the network runs; "
            "decide by an argument of __init__ instead"
        )
    return f"{line} fails without values: {str(error).partition(chr(10))[0]}"


def _without_side_effects(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Let everything after an in-place operation read its result, as `call` leaves the operand untouched.

    Kept values are read by several pieces, and by the models of a fleet side by side: none may be overwritten.
    """
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.all_input_nodes and _in_place(node, modules):
            node.meta["in_place"] = True
            later = {user for user in node.all_input_nodes[0].users if order[user] > order[node]}
            node.all_input_nodes[0].replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the node overwrites its first operand."""
    if node.op == "call_module":
        return bool(getattr(modules.get(str(node.target)), "inplace", False))
    name = function_name(node)
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


def function_name(node: fx.Node) -> str:
    """The name of the function or method that a node calls; "" for other nodes."""
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", "")) if node.op == "call_function" else ""


# --------------------------------------------------------------------------------------------------- running


def call(node: fx.Node, values: Mapping[fx.Node, Any], modules: Mapping[str, nn.Module], state: State) -> Any:  # noqa: ANN401
    """The value of a node, of any type; the operand of an in-place operation is copied first.

    Args:
        node: any but the images and the output.
        values: of the nodes it reads.
        modules: by name; under "" what was traced.
        state: parameters and buffers that stand in for those of the modules.
    """
    name = str(node.target)
    if node.op == "get_attr":
        return state[name][""] if name in state else attribute(modules[""], name)
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


def attribute(module: nn.Module, name: str) -> object:
    """What a module holds under a name with dots; None for a constant of the graph that is not in this module."""
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last, None)


@torch.no_grad()
def run_all(nodes: Sequence[fx.Node], modules: Mapping[str, nn.Module], images: Tensor) -> dict[fx.Node, Any]:
    """The value of every node, for some images."""
    values: dict[fx.Node, Any] = {nodes[0]: images}
    for node in nodes[1:-1]:
        values[node] = call(node, values, modules, {})
    return values
