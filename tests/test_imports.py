from __future__ import annotations

import subprocess
import sys

import pytest

OUTSIDE = {"lightning", "pytorch_lightning", "wandb", "torchmetrics", "callbacks"}
TORCH = {"torch", "torchvision"}
FORBIDDEN = {
    "lit_privq.data.membership": OUTSIDE | TORCH,
    "lit_privq.data.store": OUTSIDE | TORCH,
    "lit_privq.attacks": OUTSIDE | TORCH,
    "lit_privq.metrics": OUTSIDE | TORCH,
    "lit_privq.audit": OUTSIDE | TORCH,
    "lit_privq.audit.command": OUTSIDE | TORCH,
    "lit_privq.report.page": OUTSIDE | TORCH,
    "lit_privq.study.command": OUTSIDE | TORCH,
    "lit_privq.quantization.network": OUTSIDE,
    "lit_privq.quantization.adaround": OUTSIDE,
    "lit_privq.quantization.nearest": OUTSIDE,
    "lit_privq.models.stack": OUTSIDE,
    "lit_privq.models.resnet": OUTSIDE,
    "lit_privq.models.densenet": OUTSIDE,
    "lit_privq.models.confidence": OUTSIDE,
    "lit_privq.data.pool": OUTSIDE,
    "lit_privq.__main__": OUTSIDE | TORCH | {"numpy", "jsonargparse", "yaml"},
    "lit_privq.cli": {"callbacks", "wandb", "sklearn", "matplotlib"},
}
STRANGERS = {  # who must not know of whom within the package
    "lit_privq.attacks": {"lit_privq.quantization", "lit_privq.models", "lit_privq.study"},
    "lit_privq.quantization.network": {"lit_privq.attacks", "lit_privq.metrics", "lit_privq.data", "lit_privq.study"},
    "lit_privq.models.stack": {"lit_privq.attacks", "lit_privq.quantization", "lit_privq.data"},
    "lit_privq.metrics": {"lit_privq.quantization", "lit_privq.models", "lit_privq.data"},
}


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", FORBIDDEN)
def test_inner_packages_do_not_import_outer_ones(module: str) -> None:
    loaded = loaded_by(module)
    assert not FORBIDDEN[module] & {name.partition(".")[0] for name in loaded}
    assert not STRANGERS.get(module, set()) & loaded
