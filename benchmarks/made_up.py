"""A study whose configs name nothing real, for benchmarks of the engine alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_privq.study.study_file import Study


def study_file(
    folder: Path, methods: Sequence[str], bits: Sequence[int], shadows: int, targets: int, fleet: int
) -> Path:
    """Write a study of so many models, methods and precisions."""
    configs = {
        "shadow": "model: {class_path: Classifier}\n",
        "query": "data: {n_queries: 1}\n",
        "audit": "attacks: []\n",
        **{method: f"model: {{class_path: {method}}}\n" for method in methods},
    }
    for name, text in configs.items():
        (folder / f"{name}.yaml").write_text(text)
    rows = [{"method": f"{method}.yaml", "bits": list(bits)} for method in methods]
    named = {"name": "made_up", "shadow": "shadow.yaml", "query": "query.yaml", "audit": "audit.yaml"}
    numbers = {"n_shadows": shadows, "n_targets": targets, "split_seed": 0, "seed": 0, "fleet": fleet}
    path = folder / "study.yaml"
    path.write_text(json.dumps({**named, **numbers, "quantize": rows}))
    return path


def facts(study: Study, _: object) -> dict[str, Any]:
    """Sizes of nothing much."""
    recipes = [study.trained(name).recipe for name in study.recipe_names]
    sizes = {name: dict.fromkeys(recipes, 1000) for name in ("float_bytes", "code_bytes")}
    return {"dataset": "none", "net": "none", "titles": {}, "examples": 10, **sizes}
