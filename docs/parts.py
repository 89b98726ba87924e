"""The generated parts of the documentation: options of the command line, public names, configs, files of the root.

A page asks for one by a comment of its own line, ``<!-- options -->``, ``<!-- names: lit_privq.attacks -->``,
``<!-- configs: configs/ptq -->``, ``<!-- file: CHANGELOG.md -->``, and shows it in this place.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import lit_privq
from lit_privq.verbs import LIGHTNING, VERBS

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "docs/readme.md",
    "ARTIFACT.md": "docs/artifact.md",
    "CHANGELOG.md": "docs/changelog.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "benchmarks/RESULTS.md": "docs/benchmarks.md",
    "docs/results/README.md": "docs/results.md",
    "configs/README.md": "docs/configs.md",
}
"""Files that are shown in a page of another name."""


_TRAINER = """Options of the trainer are
[Lightning's](https://lightning.ai/docs/pytorch/stable/common/trainer.html), such as `--trainer.max_epochs 30` and
`--trainer.default_root_dir DIR`; those of the model are the arguments of {py:class}`lit_privq.Classifier`,
{py:class}`lit_privq.Calibration`, {py:class}`lit_privq.QuantizationAwareTraining` or {py:class}`lit_privq.Query`,
whichever the config names, such as `--model.bits 4 2`."""


def filled(text: str, page: Path) -> str:
    """A page with its generated parts in place.

    Args:
        text: as it stands in the file.
        page: that file.

    Raises:
        KeyError: if a comment asks for a part that is not known.
    """
    makers = {
        "options": lambda _: options(),
        "notebooks": lambda _: notebooks(),
        "names": names,
        "configs": configs,
        "file": lambda of: root_file(of, page),
    }
    parts = re.sub(r"^<!-- (\w+)(?:: (\S+))? -->$", lambda m: makers[m[1]](m[2]), text, flags=re.MULTILINE)
    return with_pages(parts, page, page)


def with_pages(text: str, written: Path, shown: Path) -> str:
    """Turn links to files into links from another page, to their pages where they have one.

    Args:
        text: Markdown.
        written: the file that the links start from.
        shown: the page in which the text is shown.
    """

    def link(match: re.Match[str]) -> str:
        path, mark, place = match[2].partition("#")
        target = (written.parent / path).resolve()
        if "://" in match[2] or not path or not target.exists():
            return match[0]
        target = ROOT / PAGES.get(str(target.relative_to(ROOT)), target)
        return f"{match[1]}{os.path.relpath(target, shown.parent)}{mark}{place}{match[3]}"

    return re.sub(r'(!?\[[^\]]*\]\(|<img src=")([^)"\s]+)([)"])', link, text)


def root_file(name: str, page: Path) -> str:
    """A file of the root, its links as seen from a page."""
    return with_pages((ROOT / name).read_text(encoding="utf-8"), ROOT / name, page)


def names(package: str) -> str:
    """The public names of a package, to be documented from their docstrings."""
    module = import_module(package)
    lines = [module.__doc__ or "", "", "```{eval-rst}", f".. currentmodule:: {package}", ""]
    for name in module.__all__:
        value = getattr(module, name)
        kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
        again = package != "lit_privq" and getattr(lit_privq, name, None) is value
        settings = ["   :members:"] * (kind == "class") + ["   :no-index:"] * again
        lines += [f".. auto{kind}:: {name}", *settings, ""]
    return "\n".join([*lines, "```"])


def configs(folder: str) -> str:
    """The configs of a folder: what the first line of each says it is."""
    rows = ["| config | what it is |", "|---|---|"]
    for path in sorted((ROOT / folder).rglob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        what = first.removeprefix("# ").removeprefix(f"{path.relative_to(ROOT)}: ")
        rows.append(f"| `{path.relative_to(ROOT / folder)}` | {_cell(what)} |")
    return "\n".join(rows)


def notebooks() -> str:
    """The notebooks, each with the question in its first line."""
    rows = ["| notebook | question |", "|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).partition("\n")[0]
        rows.append(f"| `{path.name}` | {_cell(first.removeprefix('# '))} |")
    return "\n".join(rows)


def options() -> str:
    """Every verb of the command line with its options, as its parser has them."""
    return "\n\n".join(part for verb in VERBS for part in _verb(verb))


def _verb(verb: str) -> Iterator[str]:
    module = import_module(VERBS[verb].module)
    ours = VERBS[verb].module != LIGHTNING
    parser: argparse.ArgumentParser = module.parser() if ours else module.parser(verb)
    yield f"## {verb}"
    yield f"{VERBS[verb].does.capitalize()}."
    examples = dedent((parser.epilog or "").partition("\n")[2]).strip()  # behind the word "examples"
    yield f"```\n{examples or f'python -m lit_privq {verb} {VERBS[verb].example}'}\n```"
    first = [] if ours or verb == "fit" else import_module(LIGHTNING).parser("fit")._actions
    known = {(action.dest, action.help) for action in first}
    shown = [a for a in parser._actions if _is_shown(a, ours) and (a.dest, a.help) not in known]
    if verb == "fit":
        yield _TRAINER
    if first:
        yield "Takes the options of [fit](#fit), and"
    if shown:
        rows = [f"| {_spelled(action)} | {_cell(_told(action))} |" for action in shown]
        yield "\n".join(["| option | what it does |", "|---|---|", *rows])


def _is_shown(action: argparse.Action, ours: bool) -> bool:
    """Whether it is an option of its own: no help on others, no link between two, none of Lightning's trainer."""
    name = max(action.option_strings, key=len, default="")
    hidden = action.help == argparse.SUPPRESS or action.dest == "help" or name.endswith(".help") or "-->" in name
    return not hidden and (ours or not name.startswith("--trainer."))


def _spelled(action: argparse.Action) -> str:
    names = [name for name in action.option_strings if not name.endswith("+")] or [action.dest]
    words = f" {{{','.join(map(str, action.choices))}}}" if action.choices else ""
    return f"`{', '.join(names)}{words}`".replace("|", r"\|")


def _told(action: argparse.Action) -> str:
    default = action.default
    known = default not in (None, argparse.SUPPRESS, [], False) and "default" not in (action.help or "")
    needed = " (required)" if action.required and action.option_strings else ""
    help = (action.help or "").partition("\n- ")[0].strip()  # Lightning's lists follow
    return f"{help}{needed}{f' (default: {default})' if known else ''}"


def _cell(text: str) -> str:
    """Text as a cell of a table; ``code`` of reStructuredText becomes Markdown's."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`").replace("%%", "%")
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
