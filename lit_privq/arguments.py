"""The order of a command line and the writing of its lists, the same for every verb that a parser of configs reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import jsonargparse

_CONFIG = ("--config", "-c")


def in_order(argv: Sequence[str], words: Collection[str] = ()) -> list[str]:
    """The options with config files first, so that what is typed wins, and each list as its parser takes it.

    Args:
        argv: options as typed; a list is several words or one list in brackets, ``--x a b`` or ``--x '[a, b]'``.
        words: options whose parser takes several words; that of all others takes brackets.

    >>> in_order(["--bits", "2", "4", "--trust=[a, b]", "--config", "x.yaml"], words=["--trust"])
    ['--config', 'x.yaml', '--bits', '[2, 4]', '--trust', 'a', 'b']
    """
    options: list[list[str]] = [[]]  # an option and its words each; first what stands before any
    for text in argv:
        if text.startswith("--") or text in ("-c", "-h"):
            name, equals, value = text.partition("=")
            options.append([name, value] if equals else [name])
        else:
            options[-1].append(text)
    first, *rest = options
    configs = [option for option in rest if option[0] in _CONFIG]
    others = [_listed(option, words) for option in rest if option[0] not in _CONFIG]
    return [word for option in (first, *configs, *others) for word in option]


def _listed(option: list[str], words: Collection[str]) -> list[str]:
    """A list in the form that its parser takes; an option with one value as it is."""
    name, *values = option
    if name in words:
        parts = [part.strip(" \"'") for value in values for part in value.strip("[]").split(",")]
        return [name, *filter(None, parts)]
    return [name, f"[{', '.join(values)}]"] if len(values) > 1 else option


class HelpWithExamples(jsonargparse.DefaultHelpFormatter):
    """Keeps the line breaks of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))
