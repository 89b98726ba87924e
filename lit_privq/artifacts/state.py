"""The state of a network: its parameters and buffers by name, and the versions of its modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

State = OrderedDict[str, Tensor]
"""What `nn.Module.state_dict` returns: tensors by name, and in its attribute ``_metadata`` each module's version."""


def versions_of(state: Mapping[str, Any]) -> dict[str, int]:
    """Version of each module that has one, by the module's name; empty for a plain dict."""
    metadata: Mapping[str, Mapping[str, Any]] = getattr(state, "_metadata", {})
    return {name: about["version"] for name, about in metadata.items() if "version" in about}


def versioned(state: Mapping[str, Any], versions: Mapping[str, int]) -> State:
    """The same tensors with these versions."""
    copied: Any = OrderedDict(state)
    copied._metadata = OrderedDict((name, {"version": version}) for name, version in versions.items())
    return copied  # type: ignore[no-any-return]


def mapped(state: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> State:
    """Another value for every tensor, under the same names and versions."""
    return versioned({name: change(value) for name, value in state.items()}, versions_of(state))


def detached(state: Mapping[str, Tensor]) -> State:
    """A copy on the CPU, without gradients."""
    return mapped(state, lambda value: value.detach().cpu().clone())


def with_prefix(state: Mapping[str, Any], prefix: str) -> State:
    """The state as the part ``prefix`` of a larger module holds it."""
    versions = {f"{prefix}.{name}".removesuffix("."): version for name, version in versions_of(state).items()}
    return versioned({f"{prefix}.{name}": value for name, value in state.items()}, versions)


def without_prefix(state: Mapping[str, Any], prefix: str) -> State:
    """The inverse of `with_prefix`."""
    cut = slice(len(prefix) + 1, None)
    versions = {name[cut]: version for name, version in versions_of(state).items()}
    return versioned({name[cut]: value for name, value in state.items()}, versions)


def load_state(net: nn.Module, state: Mapping[str, Any]) -> None:
    """Load a state into a network; one without versions, as older files hold it, is taken to be of the network's own.

    Some networks of torchvision (MNASNet) refuse a state that does not say its version.

    Raises:
        ValueError: if it is the state of another network; the message is the reason alone.
    """
    versions = versions_of(state) or versions_of(net.state_dict())
    try:
        net.load_state_dict(versioned(state, versions))
    except (RuntimeError, ValueError) as error:
        lines = str(error).splitlines()
        raise ValueError(lines[min(1, len(lines) - 1)].strip()) from error
