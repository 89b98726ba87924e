from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ATTACKS = {"lit_privq.attacks", "lit_privq.metrics", "lit_privq.audit"}
OUTSIDE = {"lightning", "pytorch_lightning", "wandb", "torchmetrics", "callbacks", "ray"}
TORCH = {"torch", "torchvision"}
OTHERS = {f"lit_privq.{name}" for name in ("classifier", "calibration", "fleet", "query", "cli", "data.datamodule")}


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (["lit_privq.__main__"], OUTSIDE | TORCH | {"numpy", "jsonargparse", "yaml"}),
        (["lit_privq.attacks"], OUTSIDE | TORCH | OTHERS | {"lit_privq.quantization", "lit_privq.models"}),
        (["lit_privq.metrics"], OUTSIDE | TORCH | OTHERS | {"lit_privq.quantization", "lit_privq.models"}),
        (
            ["lit_privq.data.membership", "lit_privq.artifacts.confidences", "lit_privq.audit.command",
             "lit_privq.report.page",
             "lit_privq.study.command"],
            OUTSIDE | TORCH | OTHERS,
        ),
        (["lit_privq.quantization.*"], OUTSIDE | OTHERS | ATTACKS | {"lit_privq.study"}),
        (["lit_privq.models.*", "lit_privq.data.pool"], OUTSIDE | OTHERS | ATTACKS | {"lit_privq.quantization"}),
        (["lit_privq.indicator.*"], OUTSIDE | OTHERS | {"lit_privq.study"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_inner_packages_do_not_import_outer_ones(modules: list[str], forbidden: set[str]) -> None:
    names = [name for pattern in modules for name in expanded(pattern)]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {names}]; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert set(names) <= loaded
    assert not forbidden & loaded


def expanded(pattern: str) -> list[str]:
    """A package's modules, for ``package.*``."""
    package = pattern.removesuffix(".*")
    folder = Path(__file__).parents[1] / package.replace(".", "/")
    return [f"{package}.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))] if pattern != package else [pattern]
