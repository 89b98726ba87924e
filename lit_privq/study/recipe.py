"""What the result of a stage depends on: its config, less what only displays, and the source of the code it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lit_privq.study.sources import digests

# What a trainer shows, logs or writes. Callbacks are among it: they watch a fit, and what changes it is no callback's.
_SHOWN = (
    "callbacks",
    "default_root_dir",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "log_every_n_steps",
    "logger",
    "profiler",
)
# Where the data lie and whose turn it is. Memberships of shadows and targets do not depend on how many targets there
# are: each target has a random stream of its own.
_PLACES = ("download", "model_index", "n_targets", "root")
_OTHER_STAGES = {"train": ("calibration_size", "n_queries"), "quantize": ("n_queries",), "query": ("calibration_size",)}


def recipe(stage: str, tree: Mapping[str, Any]) -> str:
    """Digest of what a stage's result depends on, beside its input files.

    Args:
        stage: train, quantize, query, audit or report.
        tree: its config with all options put in place, as nested dicts.
    """
    unused = {"trainer": _SHOWN, "data": (*_PLACES, *_OTHER_STAGES.get(stage, ()))}
    kept = {section: _without(content, unused.get(section, ())) for section, content in tree.items()}
    kept = {section: content for section, content in kept.items() if content != {}}
    text = json.dumps([kept, digests(_words(kept))], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _without(content: Any, keys: tuple[str, ...]) -> Any:  # noqa: ANN401 - a YAML tree
    return {key: value for key, value in content.items() if key not in keys} if isinstance(content, dict) else content


def _words(node: Any) -> Iterator[str]:  # noqa: ANN401 - a YAML tree
    """Every text in a config, class paths among them."""
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _words(child)


def find(tree: Any, key: str) -> Any:  # noqa: ANN401 - a YAML tree
    """First value of a key anywhere in a config, None if it is nowhere."""
    if isinstance(tree, dict) and key in tree:
        return tree[key]
    nodes = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return next((found for node in nodes if (found := find(node, key)) is not None), None)
