"""JSON objects that earlier commands left on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing.

    Raises:
        ValueError: if it is there and is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON; {error}; run the command that wrote it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a JSON object; got {type(content).__name__}; write it again")
    return content
