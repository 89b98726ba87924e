"""Source files behind class paths, found without importing them."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def digests(words: Iterable[str]) -> list[list[str]]:
    """Name and digest of each source file that holds one of these classes, or that such a file imports from its folder.

    Args:
        words: class paths; other texts, and classes of installed packages, which have versions, are passed over.
    """
    found = (source_of(word) for word in words if _DOTTED.fullmatch(word))
    files = {file for source in found if source is not None for file in _with_neighbours(source)}
    return sorted([f"{file.parent.name}/{file.name}", _digest(file)] for file in files)


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def source_of(class_path: str) -> Path | None:
    """The file that defines a class, function or module; None if it belongs to an installed package, or to none.

    >>> source_of("lit_privq.study.sources.source_of").name, source_of("torch.nn.Linear"), source_of("not.there")
    ('sources.py', None, None)
    """
    top, *rest = class_path.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    if any(file.is_relative_to(folder) for folder in _INSTALLED):
        return None
    while rest and file.name == "__init__.py" and (inner := _inner(file.parent / rest[0])):
        file, rest = inner, rest[1:]
    if rest and file.name == "__init__.py" and (origin := _exported(file, rest[0])):
        return source_of(f"{'.'.join(class_path.split('.')[: -len(rest)])}.{origin}")
    return file


def _inner(path: Path) -> Path | None:
    """The file of a module or package within a package."""
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _exported(package: Path, name: str) -> str | None:
    """Where a package takes a name from, relative to itself: ``grid.RangeSearch``; stubs of lazy names go first."""
    for file in (package.with_suffix(".pyi"), package):
        for node in ast.walk(_parsed(file)) if file.is_file() else ():
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                module = (node.module or "") if node.level else (node.module or "").rpartition(".")[2]
                return f"{module}.{name}" if module and _inner(package.parent / module.replace(".", "/")) else None
    return None


@functools.cache
def _with_neighbours(file: Path) -> frozenset[Path]:
    """A file and those of its folder that it imports, directly or by way of each other."""
    found, new = {file}, [file]
    while new:
        for neighbour in _imports(new.pop()):
            if neighbour not in found and neighbour.parent == file.parent and neighbour.name != "__init__.py":
                found.add(neighbour)
                new.append(neighbour)
    return frozenset(found)


def _imports(file: Path) -> Iterator[Path]:
    """Source files of the modules that a file imports."""
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            inner = (_inner(file.parent / name.replace(".", "/")) for name in names if node.level == 1)
            yield from filter(None, inner)
        elif isinstance(node, ast.ImportFrom):
            yield from filter(None, (source_of(f"{node.module}.{alias.name}") for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from filter(None, (source_of(alias.name) for alias in node.names))


@functools.cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())
