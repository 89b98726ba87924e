"""``python -m lit_privq completion``: a script with which a shell completes verbs and options of ``lit_privq``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from lit_privq.verbs import LIGHTNING, VERBS

_EXAMPLE = """example:
  lit_privq completion bash > ~/.local/share/bash-completion/completions/lit_privq
      completes the command lit_privq in every new shell
"""


def main(argv: Sequence[str]) -> None:
    """Print the script for one shell.

    Raises:
        ValueError: if shtab is not installed.
    """
    shell = parser().parse_args(argv).shell
    try:
        import shtab  # an extra
    except ImportError as error:
        raise ValueError(
            f"completion needs {error.name}; install it with: pip install 'lit_privq[completion]'"
        ) from error
    command = argparse.ArgumentParser(prog="lit_privq")
    verbs = command.add_subparsers()
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.does)
        verbs.choices[name] = _parser(name)
        for action in verbs.choices[name]._actions:
            _describe(action, shtab.FILE)
    print(shtab.complete(command, shell))


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq completion",
        description="Print a script that completes verbs and options of the command lit_privq.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=["bash", "zsh", "fish", "tcsh", "powershell"])
    return made


def _parser(verb: str) -> argparse.ArgumentParser:
    module = import_module(VERBS[verb].module)
    made: argparse.ArgumentParser = module.parser(verb) if VERBS[verb].module == LIGHTNING else module.parser()
    return made


def _describe(action: Any, files: object) -> None:  # noqa: ANN401  # shtab's attribute is not in its type
    """Tell shtab what jsonargparse keeps in types: options that take a path or one of a few words.

    jsonargparse can tell more, but looks at every subclass that could be a model: more than ten minutes.
    """
    kind = getattr(action, "_typehint", action.type)
    if get_origin(kind) is Literal:
        action.choices = get_args(kind)
    elif "Path" in str(kind) or action.dest.endswith(("config", "root")):
        action.complete = files
    if " --> " in str(action.option_strings):  # an option that gives another its value
        action.help = argparse.SUPPRESS
