from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lit_privq.report.inputs import read_inputs
from lit_privq.tracking.tables import concluded, measured
from tests.tracking.conftest import LEAKS, USEFUL


def test_what_is_logged_are_the_audits_numbers_as_numbers(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up(LEAKS, USEFUL))
    rows = concluded(view.results, view.measures)
    assert [row["variant"] for row in rows] == [variant.name for variant in view.results.variants]
    for variant, row in zip(view.results.variants, rows, strict=True):
        leak, saving = view.leak(variant), view.saving(variant)
        assert leak is not None
        assert [row[f"leakage {name}"] for name in ("value", "low", "verdict")] == [leak.value, leak.low, leak.verdict]
        assert row["leakage change holm"] == (saving.holm if saving else None)
        assert row["leakage change verdict"] == (saving.verdict if saving else None)
    assert {row["value"] for row in measured(view.results) if row["metric"] == "accuracy"} >= {0.9, 0.8}
    assert all(isinstance(row["value"], float) and row["fpr"] is None for row in measured(view.results))
