"""Checkpoints on disk: where they lie, how they are written and read, and how the network inside is built again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import nn

from lit_privq.artifacts.atomic import atomic_write
from lit_privq.artifacts.codes import restore_weights
from lit_privq.artifacts.state import load_state, without_prefix
from lit_privq.artifacts.trust import check_trusted, resolve

Spec = Mapping[str, Any]
P = ParamSpec("P")
Net = TypeVar("Net", bound=nn.Module)

_NOTE = "_made_from"  # where a network keeps its class path and arguments


def checkpoint_path(pattern: str, model: int) -> Path:
    """The checkpoint of one model, where ``{index}`` (or ``{index:03d}``) stands for its index.

    Raises:
        ValueError: if there are other braces in the pattern.

    >>> checkpoint_path("runs/none-32/{index:03d}.ckpt", 7).as_posix()
    'runs/none-32/007.ckpt'
    """
    try:
        return Path(pattern.format(index=model))
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"the only braces in a checkpoint's path are {{index}} or {{index:03d}}, for the model's; got {pattern}"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a `Classifier` with plain types only; weights that a quantized one has as codes are added.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or none of lit_privq's.
    """
    checkpoint = _read(path)
    if not isinstance(checkpoint, dict) or "lit_privq" not in checkpoint:
        raise ValueError(f"checkpoint {path} was not written by lit_privq; only its own say which examples are members")
    restore_weights(checkpoint)
    return checkpoint


def read_hyper_parameters(path: Path) -> dict[str, Any]:
    """What a checkpoint, of Lightning or ours, says its module was made from; plain types only, nothing is built.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    checkpoint = _read(path)
    return dict(checkpoint.get("hyper_parameters") or {}) if isinstance(checkpoint, dict) else {}


def _read(path: Path) -> Any:  # noqa: ANN401  # whatever was saved
    """A file that torch wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}; train or quantize that model first, with fit")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and KeyError on damaged files
        raise ValueError(
            f"checkpoint {path} is damaged ({type(error).__name__}); delete it and make it again"
        ) from error


def network_of(checkpoint: Mapping[str, Any], path: Path, trust: Sequence[str] = ()) -> nn.Module:
    """The network in a checkpoint, in evaluation mode.

    Args:
        checkpoint: what `read_checkpoint` returned.
        path: where it was read, for messages.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks the checkpoint may name.

    Raises:
        ValueError: if the network is not trusted, or the weights do not fit it or are not finite.
    """
    net = build_trusted(checkpoint["hyper_parameters"]["net"], trust, path)
    try:
        load_state(net, without_prefix(checkpoint["state_dict"], "net"))
    except ValueError as error:
        raise ValueError(f"the weights in {path} belong to another network: {error}") from error
    if (tensor := not_finite(checkpoint)) is not None:
        raise ValueError(f"{path} holds NaN or infinity in {tensor}, its training diverged; make that model again")
    return net.eval()


def not_finite(checkpoint: Mapping[str, Any]) -> str | None:
    """Name of the first tensor of the network that holds NaN or infinity, None if there is none."""
    grids = {
        f"{name}.{part}": layer[part]
        for name, layer in checkpoint.get("quantization", {}).items()
        for part in ("scale", "zero")
    }
    tensors = {**without_prefix(checkpoint["state_dict"], "net"), **grids}
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def write_checkpoint(folder: Path, checkpoint: Mapping[str, Any]) -> Path:
    """Write one checkpoint to ``folder/<variant>/<index>.ckpt``, whole or not at all.

    The same content gives the same bytes: torch names the archive inside after a file's path, not after an open file.
    """
    made = checkpoint["lit_privq"]
    path: Path = folder / made["variant"] / f"{made['index']:03d}.ckpt"
    with atomic_write(path) as file:
        torch.save(dict(checkpoint), file)
    return path


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

    >>> plain(functools.partial(torch.optim.SGD, lr=0.1))
    {'class_path': 'torch.optim.sgd.SGD', 'init_args': {'lr': 0.1}}
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
