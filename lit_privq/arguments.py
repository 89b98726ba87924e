"""Command lines with configs: their order, their lists, their help, and their errors in one sentence."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import jsonargparse

_CONFIG = ("--config", "-c")
_NOISE = (  # lines of a parser's message that only its maintainers read
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value type",
    "Given value: NestedArg",
    "Given value: Namespace",
    "Given value: {",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
)
_NOT_THERE = r"No module named '[^']+'|No \S+ attribute \w+|module '\S+' has no attribute '\w+'"
_MISSPELT = re.compile(rf"class_path '(?P<path>[^']+)': (?P<why>{_NOT_THERE})")
_MISSPELT_FUNCTION = re.compile(rf"(?P<why>{_NOT_THERE}). (?:Got|Given) value: (?P<path>[\w.]+)")


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
            options.append([name, value] if equals and not name.startswith("--print_") else [text])
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


def config_parser(verb: str, does: str, examples: str, config: str) -> jsonargparse.ArgumentParser:
    """The parser of a verb whose options also stand in ``--config`` files; what it refuses is an exception."""
    parser = jsonargparse.ArgumentParser(
        prog=f"python -m lit_privq {verb}",
        description=does,
        epilog=examples,
        formatter_class=HelpWithExamples,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help=config)
    return parser


def read(parser: jsonargparse.ArgumentParser, argv: Sequence[str]) -> jsonargparse.Namespace:
    """Options from a command line, the parts that they name built.

    Raises:
        ValueError: in one sentence, if an option is unknown or a value cannot be used.
        SystemExit: after ``--help`` or ``--print_config``.
    """
    try:
        options: jsonargparse.Namespace = parser.instantiate(parser.parse_args(argv))
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{sentence(str(error))} ({parser.prog} --help lists the options)") from error
    return options


class HelpWithExamples(jsonargparse.DefaultHelpFormatter):
    """Keeps the line breaks of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))


def is_from_parser(error: Exception) -> bool:
    """Whether an error is a parser's list of what it tried, for `sentence`, and not one sentence already."""
    return isinstance(error, jsonargparse.ArgumentError) or "Does not validate" in str(error)


def sentence(message: str) -> str:
    """A parser's message of many lines as one; of a class path that leads nowhere, which option names it and why.

    >>> said = "Parser key 'model': Problem with given class_path 'my_nett.Net': No module named 'my_nett'"
    >>> sentence(said.replace("'model'", '"model"'))[:77]
    "model: there is no class or function my_nett.Net (No module named 'my_nett');"
    """
    lines = [line.strip(" -") for line in message.splitlines()]
    said = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
    misspelt = _MISSPELT.search(said) or _MISSPELT_FUNCTION.search(said)
    if misspelt is None:
        return said
    option = ".".join(re.findall(r'Parser key "([^"]+)"', said[: misspelt.start()]))
    return (
        f"{option}: there is no class or function {misspelt['path']} ({misspelt['why']}); check its spelling, and that "
        "its package is installed or in PYTHONPATH"
    )
