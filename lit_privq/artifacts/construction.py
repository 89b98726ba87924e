"""Objects as class paths with arguments: how files name networks, data sets and optimizers, and build them again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from torch import nn

from lit_privq.artifacts.trust import check_trusted, resolve

Spec = Mapping[str, Any]
"""``class_path``, a class or function by its importable name, and its keyword arguments, ``init_args``."""

P = ParamSpec("P")
Net = TypeVar("Net", bound=nn.Module)

_NOTE = "_made_from"  # where a network keeps its class path and arguments


def build_trusted(spec: Spec, trust: Sequence[str], source: object) -> nn.Module:
    """Build a network that a file names, if the file may name it.

    Args:
        spec: class path and arguments, as the file gives them.
        trust: modules or packages that the user trusts beside torch, torchvision and lit_privq.
        source: the file, for messages.

    Raises:
        ValueError: if a class path in it, nested ones included, is not trusted, or makes no network.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise ValueError(f"{source} must name its network as class_path and init_args; got {spec!r}")
    check_trusted(spec, trust, source)
    return build(spec)


def build(spec: Spec) -> nn.Module:
    """Build a network from its class path and arguments, as the user's config gives them; runs whatever they name.

    What a file names goes through `build_trusted`.

    Raises:
        ValueError: if there is no such class, or it makes no network.

    >>> build({"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 3}})
    Linear(in_features=2, out_features=3, bias=True)
    """
    net = construct(spec)
    if not isinstance(net, nn.Module):
        raise ValueError(f"a network must be a torch.nn.Module; {spec['class_path']} gives {type(net).__name__}")
    _note(net, spec)
    return net


def construct(value: Any) -> Any:  # noqa: ANN401  # whatever a config holds
    """A config's value with every class path in it called with its arguments; for what the user wrote only."""
    if isinstance(value, (list, tuple)):
        return [construct(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "class_path" not in value:
        return {key: construct(item) for key, item in value.items()}
    arguments = {**value.get("init_args", {}), **value.get("dict_kwargs", {})}
    return resolve(value["class_path"])(**{key: construct(item) for key, item in arguments.items()})


def network_name(spec: Spec) -> str:
    """Short name of a network for tables: its function's name, with the width where one is given.

    >>> network_name({"class_path": "lit_privq.models.resnet18", "init_args": {"width": 16}})
    'resnet18-w16'
    """
    width = spec.get("init_args", {}).get("width")
    name: str = spec["class_path"].rpartition(".")[2]
    return f"{name}-w{width}" if width else name


def recorded(make: Callable[P, Net]) -> Callable[P, Net]:
    """A function or class that makes networks, made to note on each how it was made, as checkpoints write it down.

    The networks of `lit_privq.models` are; for others: ``recorded(torchvision.models.resnet18)(num_classes=10)``, or as
    a decorator.

    >>> spec_of(recorded(nn.Linear)(2, out_features=3))
    {'class_path': 'torch.nn.modules.linear.Linear', 'init_args': {'in_features': 2, 'out_features': 3}}
    """

    @functools.wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Net:
        net = make(*args, **kwargs)
        names = dict(zip(inspect.signature(make).parameters, args, strict=False))
        _note(net, {"class_path": _path_of(make), "init_args": {**names, **kwargs}})
        return net

    return made


def spec_of(net: nn.Module) -> dict[str, Any] | None:
    """How a network was made, where that was noted by `recorded` or `build`; None where it was not."""
    spec: dict[str, Any] | None = net.__dict__.get(_NOTE)
    return spec


def _note(net: nn.Module, spec: Spec) -> None:
    net.__dict__[_NOTE] = plain(spec)  # past Module.__setattr__, which is for parameters and modules; copies keep it


def plain(value: Any) -> Any:  # noqa: ANN401  # whatever a config or a module was made from
    """Turn arguments into plain dicts, lists, numbers and strings, which a weights_only load accepts.

    Networks, data sets, optimizers and schedules become class paths with arguments; what cannot be named, such as a
    lambda, becomes None.

    >>> plain(functools.partial(nn.Linear, bias=False))
    {'class_path': 'torch.nn.modules.linear.Linear', 'init_args': {'bias': False}}
    """
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, nn.Module):
        return spec_of(value)
    if isinstance(value, functools.partial) and not value.args:
        return {**plain(value.func), "init_args": plain(value.keywords)} if plain(value.func) else None
    if is_dataclass(value) and not isinstance(value, type):
        arguments = {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init}
        return {"class_path": _path_of(type(value)), "init_args": arguments}
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        path = _path_of(value)
        return None if "<" in path else {"class_path": path}  # <lambda> and <locals> cannot be imported
    return str(value) if isinstance(value, Path) else value


def _path_of(value: Any) -> str:  # noqa: ANN401
    return f"{value.__module__}.{getattr(value, '__qualname__', '<unnamed>')}"
