"""A device that is not there: its tensors live in CPU memory, but mix with those of the CPU no more than a GPU's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

ELSEWHERE = torch.device("meta")
aten = torch.ops.aten
MOVES = (aten._to_copy.default, aten.copy_.default)  # between devices
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
JOINING = (aten.stack.default, aten.cat.default)  # not even of numbers


class ElsewhereTensor(Tensor):
    """Says that it lives elsewhere; ``held`` is what it stands for."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[ElsewhereTensor], held: Tensor) -> ElsewhereTensor:
        made: ElsewhereTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=ELSEWHERE,
            requires_grad=False,
        )
        made.held = held
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.tolist:
            return args[0].detach().held.tolist()  # not made of operators
        with torch._C.DisableTorchFunctionSubclass():  # what comes back to the CPU stays a plain tensor
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, func: torch._ops.OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return computed(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Inside, tensors can be made there: ``device=ELSEWHERE``."""

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The operator on what is held, and its results where they belong."""
    met = (args[0], *args[2:]) if func in INDEXED else args  # indices may be on the CPU
    tensors = [leaf for leaf in tree_leaves((met, kwargs)) if isinstance(leaf, Tensor)]
    there = [isinstance(tensor, ElsewhereTensor) for tensor in tensors]
    stray = [tensor for tensor, far in zip(tensors, there, strict=True) if not far and (tensor.ndim or func in JOINING)]
    indices = tree_leaves(args[1]) if func in INDEXED else []
    if (any(there) and stray and func not in MOVES) or (
        not any(there) and any(isinstance(index, ElsewhereTensor) for index in indices)
    ):
        raise RuntimeError(f"{func}: tensors on the CPU and elsewhere")
    if any(tensor.device == ELSEWHERE and not far for tensor, far in zip(tensors, there, strict=True)):
        raise RuntimeError(f"{func}: a tensor elsewhere that holds nothing; make it here and move it")
    wanted = kwargs.get("device")
    far = ELSEWHERE.type == torch.device(wanted).type if wanted is not None else any(there)
    if far and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{func}: a generator of the CPU, for numbers elsewhere")
    here = {**kwargs, "device": torch.device("cpu")} if wanted is not None else kwargs
    plain_args, plain_kwargs = tree_map_only(ElsewhereTensor, lambda tensor: tensor.held, (tuple(args), here))
    results = func(*plain_args, **plain_kwargs)
    if func._schema.is_mutable:
        return args[0]
    return tree_map_only(Tensor, ElsewhereTensor, results) if far else results


def moved(net: nn.Module) -> nn.Module:
    """A network whose parameters and buffers are elsewhere, in place."""
    for module in net.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = nn.Parameter(ElsewhereTensor(parameter.detach()), parameter.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = ElsewhereTensor(buffer)
    return net
