"""Checkpoints on disk: where they lie, how they are read, and how the network inside is built again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

Spec = Mapping[str, Any]


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
    """Read a checkpoint of a `Classifier` with plain types only.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or none of lit_privq's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}; train or quantize that model first, with fit")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and KeyError on damaged files
        raise ValueError(
            f"checkpoint {path} is damaged ({type(error).__name__}); delete it and make it again"
        ) from error
    if not isinstance(checkpoint, dict) or "lit_privq" not in checkpoint:
        raise ValueError(f"checkpoint {path} was not written by lit_privq; only its own say which examples are members")
    return checkpoint


def network_of(checkpoint: Mapping[str, Any], path: Path) -> nn.Module:
    """The network in a checkpoint, in evaluation mode.

    Raises:
        ValueError: if the weights do not fit the network that the checkpoint names.
    """
    net = build(checkpoint["hyper_parameters"]["net"])
    state = {name.removeprefix("net."): value for name, value in checkpoint["state_dict"].items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {path} belong to another network: {str(error).splitlines()[1].strip()}"
        ) from error
    return net.eval()


def build(spec: Spec) -> nn.Module:
    """Build a network from its class path and arguments, as a checkpoint or a config gives them.

    >>> build({"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 3}})
    Linear(in_features=2, out_features=3, bias=True)
    """
    module, _, name = spec["class_path"].rpartition(".")
    arguments = {key: build(value) if _is_spec(value) else value for key, value in spec.get("init_args", {}).items()}
    net: nn.Module = getattr(import_module(module), name)(**arguments)
    return net


def _is_spec(value: object) -> bool:
    """Whether a value is a class path with arguments."""
    return isinstance(value, Mapping) and "class_path" in value


def network_name(spec: Spec) -> str:
    """Short name of a network for tables: its function's name, with the width where one is given.

    >>> network_name({"class_path": "lit_privq.models.resnet.resnet18", "init_args": {"width": 16}})
    'resnet18-w16'
    """
    width = spec.get("init_args", {}).get("width")
    name: str = spec["class_path"].rpartition(".")[2]
    return f"{name}-w{width}" if width else name


def plain(value: Any) -> Any:  # noqa: ANN401  # whatever a config holds
    """Turn a config into plain dicts, lists, numbers and strings, which a weights_only load accepts."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
