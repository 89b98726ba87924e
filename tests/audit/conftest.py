from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.confidences import Dump, write_dump
from lit_privq.artifacts.variant import Variant

Study = Callable[..., Path]
SHADOWS, TARGETS, EXAMPLES = 8, 2, 60


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of which a report was asked for; none is drawn."""
    asked: list[Path] = []

    def build(directory: Path) -> Path:
        asked.append(directory)
        return directory / "report.html"

    monkeypatch.setattr("lit_privq.report.build", build)
    return asked


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study's confidence folder: full precision, one method at two precisions, one of them for the targets only."""

    def write(variants: dict[str, float] | None = None, *, targets_only: tuple[str, ...] = ("nearest-2",)) -> Path:
        random = np.random.default_rng(0)
        models = SHADOWS + TARGETS
        members = np.argsort(random.random((SHADOWS, EXAMPLES)), axis=0) < SHADOWS // 2
        members = np.vstack([members, random.random((TARGETS, EXAMPLES)) < 0.5])
        hardness = random.normal(size=(EXAMPLES, 2))
        for name, gap in (variants or {"none-32": 3.0, "adaround-1.58-last8": 1.0, "nearest-2": 2.0}).items():
            variant = Variant.parse(name)
            for index in range(SHADOWS if name in targets_only else 0, models):
                phi = hardness + gap * members[index][:, None] + random.normal(size=(EXAMPLES, 2))
                inside = np.flatnonzero(members[index])
                dump = Dump(
                    confidence=phi.astype(np.float32),
                    labels=np.arange(EXAMPLES) % 3,
                    members=members[index],
                    calibration=inside[: 5 if variant.quantized else 0],
                    test_confidence=phi[:10].astype(np.float32),
                    test_correct=np.arange(10) < 9,
                    meta={
                        "dataset": "digits",
                        "net": f"small{variant.recipe}",
                        "fingerprint": "abc",
                        "index": index,
                        **asdict(variant),
                        "size_bytes": None,
                        "n_shadows": SHADOWS,
                        "n_targets": TARGETS,
                        "split_seed": 0,
                        "n_queries": 2,
                    },
                )
                write_dump(tmp_path / "confidence" / name / f"{index:03d}.npz", dump)
        return tmp_path / "confidence"

    return write
