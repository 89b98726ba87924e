"""The README's example of attacks in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs_as_it_stands_on_arrays_of_one_query() -> None:
    (code,) = re.findall(r"```python\n(from lit_privq\.attacks .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((64, 30)), axis=0) < 32, random.random((10, 30)) < 0.5])
    names: dict[str, Any] = {"confidence": random.normal(size=(74, 30)) + members, "members": members}
    exec(code, names)
    assert names["scores"]["lira_online_fixed"].shape == (74, 30)
