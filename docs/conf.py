"""The documentation site: ``make docs``. Nothing is fetched to build it, nor to read it: formulas are MathML."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util import logging

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import parts  # noqa: E402  # from this folder

from lit_privq import __version__  # noqa: E402

_OURS = ("lit_privq", "callbacks")

project, author, copyright = "lit_privq", "the lit_privq authors", "the lit_privq authors, Apache-2.0"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "myst_parser"]
exclude_patterns = ["results/README.md"]  # shown in results.md
highlight_language = "none"
default_role = "py:obj"

myst_enable_extensions = ["deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say types, shapes and units
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "lit_privq"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the generated parts into a page."""
    source[0] = parts.filled(source[0], Path(str(app.env.doc2path(docname))))


def read_google(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Read a docstring in Google's style; of a property, whose first colon is none behind a type, as a method's."""
    kind = "method" if what in ("property", "attribute") else what
    settings = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
    lines[:] = GoogleDocstring(lines, settings, app, kind, name, obj, options).lines()


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Link a name as code spells it to the public name that is documented; what is not public stays plain text.

    A name of ours that does not exist is left to Sphinx, which warns of it.
    """
    if node.get("refdomain") != "py":
        return None
    target, domain = str(node["reftarget"]), env.domains.python_domain
    public = next((name for name in _spellings(target, domain.objects) if name in domain.objects), None)
    if public is None:
        return content if _exists(target) else None
    found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, content)
    return found if isinstance(found, nodes.Element) else None


def _spellings(target: str, documented: Iterable[str]) -> Iterator[str]:
    """The names under which what a name means may be documented."""
    steps = target.split(".")
    if len(steps) == 1 and target[:1].isupper():  # a class; a small word may be an argument
        yield from (name for name in documented if name.endswith(f".{target}"))
    for cut in range(len(steps) - 1, 0, -1):  # of a module that defines it, the packages that export it
        for kept in range(len(steps) - cut, 0, -1):
            yield ".".join([*steps[:cut], *steps[-kept:]])


def _exists(target: str) -> bool:
    """Whether a name is one of another project, or of ours and not public; a class without its module counts too."""
    steps = target.split(".")
    if steps[0] in _OURS:
        return any(_has(_module(steps[:cut]), steps[cut:]) for cut in range(len(steps), 0, -1))
    if not re.fullmatch(r"[A-Z]\w*[a-z]\w*", steps[0]):
        return True
    known = (module for name, module in list(sys.modules.items()) if name.partition(".")[0] in (*_OURS, "builtins"))
    return any(hasattr(module, steps[0]) for module in known)


def _module(steps: list[str]) -> object:
    """The module of this path, None if there is none."""
    try:
        return import_module(".".join(steps))
    except ImportError:
        return None


def _has(value: Any, steps: list[str]) -> bool:  # noqa: ANN401  # any object
    for step in steps:
        value = getattr(value, step, None)
    return value is not None


def _mathml(node: nodes.math | nodes.math_block, block: bool = False) -> str:
    """A formula as MathML; one that cannot be read is a warning that names it."""
    try:
        return str(tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        logging.getLogger(__name__).warning("the formula %s: %s", node.astext(), error, location=node)
        return ""


def write_inline(writer: Any, node: nodes.math) -> None:  # noqa: ANN401  # Sphinx's translator
    """Write a formula in a line."""
    writer.body.append(_mathml(node))
    raise nodes.SkipNode


def write_block(writer: Any, node: nodes.math_block) -> None:  # noqa: ANN401
    """Write a formula of its own."""
    writer.body.append(f'<div class="formula">{_mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect all of it."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", read_google)
    app.connect("missing-reference", resolve)
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
