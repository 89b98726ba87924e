"""Config files: YAML that may point at other YAML files by relative path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml


def read_tree(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a YAML file; {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must hold keys and values; got {type(tree).__name__}")
    return tree


def config_tree(path: Path) -> dict[str, Any]:
    """A config with every config it points at put in its place.

    Raises:
        FileNotFoundError: if it points at one that does not exist.
    """
    tree = _expand(read_tree(path), path)
    assert isinstance(tree, dict)
    return tree


def _expand(node: Any, path: Path) -> Any:  # noqa: ANN401 - a YAML tree
    if isinstance(node, dict):
        return {key: _expand(value, path) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value, path) for value in node]
    if not isinstance(node, str) or not node.endswith((".yaml", ".yml")):
        return node
    file = Path(os.path.normpath(path.parent / node))
    if not file.is_file():
        raise FileNotFoundError(f"{path} names {node}, but there is no {file}; correct the path")
    return config_tree(file)
