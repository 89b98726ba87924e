"""Which code a file may name: a checkpoint is data, and reading it must run nothing that the user did not choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, get_type_hints

KNOWN = (
    "lit_privq.Classifier",
    "lit_privq.classifier",
    "lit_privq.data",
    "lit_privq.fleet",
    "lit_privq.models",
    "torch.nn",
    "torch.optim",
    "torchvision.models",
    "torchvision.ops",
)
"""Where networks, optimizers, schedules and data sets need no trust; functions there must return a network."""

_OURS = ("lit_privq", "torch", "torchvision")  # may be imported; whether what they hold may be called is another matter

_KEYS = ("class_path", "_class_path", "net", "optimizer", "scheduler", "dataset")  # whose text the parser imports


def class_paths(content: object) -> Iterator[str]:
    """Every class path in nested dicts and lists, as configs and checkpoints hold them.

    >>> list(class_paths({"net": {"class_path": "a.B", "init_args": {"layers": [{"class_path": "c.D"}]}}}))
    ['a.B', 'c.D']
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in _KEYS and isinstance(value, str):
                yield value
            else:
                yield from class_paths(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from class_paths(value)


def packages(config: Mapping[str, Any]) -> list[str]:
    """What the user trusts by naming it in the model and data sections of a config: their own packages.

    Of torch, torchvision and lit_privq only the very class is trusted: the packages also hold what makes no network.

    >>> packages({"model": {"net": {"class_path": "my_nets.cnn.Net"}, "optimizer": {"class_path": "torch.optim.SGD"}}})
    ['my_nets']
    """
    named = [path for path in class_paths([config.get("model"), config.get("data")]) if "." in path]
    return sorted(
        {path if lies_in(path, _OURS) else path.partition(".")[0] for path in named if not lies_in(path, KNOWN)}
    )


def check_trusted(content: object, trust: Sequence[str], source: object) -> None:
    """Refuse what a file says where it names code that is neither known to be harmless nor trusted by the user.

    Args:
        content: what the file says, in nested dicts and lists.
        trust: modules or packages that the user trusts, such as ``my_package`` or ``my_package.networks``.
        source: the file, for the message.

    Raises:
        ValueError: naming the class path and the option that allows it.
    """
    for class_path in class_paths(content):
        module = _untrusted_module(class_path, trust)
        if module is not None:
            raise ValueError(
                f"{source} names {class_path}, and a file may name only networks of torch.nn, torchvision.models and "
                f"lit_privq.models; if you trust that code, add --trust {module}"
            )


def resolve(class_path: str) -> Any:  # noqa: ANN401  # a class or a function
    """The class or function behind a class path.

    Raises:
        ValueError: if there is none.

    >>> resolve("torch.nn.Linear")
    <class 'torch.nn.modules.linear.Linear'>
    """
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"a class path names what can be imported, such as my_package.MyNetwork; got {class_path!r} ({error})"
        ) from error


def lies_in(class_path: str, modules: Sequence[str]) -> bool:
    """Whether a class path lies in one of the modules or packages.

    >>> lies_in("torch.nn.Linear", ["torch"]), lies_in("torchvision.ops.MLP", ["torch"])
    (True, False)
    """
    return any(class_path == module or class_path.startswith(f"{module}.") for module in modules)


def _untrusted_module(class_path: str, trust: Sequence[str]) -> str | None:
    """The module that would have to be trusted, None if all is well; imports only what is ours or trusted."""
    if class_path in trust:
        return None
    if not lies_in(class_path, (*trust, *_OURS)):
        return class_path.rpartition(".")[0] or class_path
    found, module = resolve(class_path), class_path.rpartition(".")[0]
    # Modules also hold what they import: torchvision.models._api has load_state_dict_from_url, which unpickles.
    origin: str = found.__module__ if hasattr(found, "__qualname__") else module
    if lies_in(origin, trust) or (lies_in(origin, KNOWN) and _is_harmless(found)):
        return None
    return origin


def _is_harmless(found: Any) -> bool:  # noqa: ANN401
    """Whether calling it makes a network, an optimizer, a schedule or one of our data sets."""
    from torch import nn, optim  # here, so that a plan of a study costs no import of torch

    makes = found if isinstance(found, type) else get_type_hints(found).get("return")
    if not isinstance(makes, type):
        return False
    ours = isinstance(found, type) and lies_in(makes.__module__, ["lit_privq.data"])
    return ours or issubclass(makes, nn.Module | optim.Optimizer | optim.lr_scheduler.LRScheduler)
