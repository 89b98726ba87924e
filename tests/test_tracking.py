from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lit_privq.report.inputs import read_inputs
from lit_privq.tracking import MODES, check_mode, concluded, measured, publish


@pytest.mark.parametrize("mode", ["", *MODES])
def test_the_modes_that_wandb_knows_are_taken(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    check_mode()


def test_another_mode_is_refused_with_the_ones_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(ValueError, match=r"one of online, offline, disabled, shared; got nonsense, set or unset it$"):
        check_mode()


LEAKS = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-2": [0.05, 0.061, 0.07, 0.08], "obc-4": [0.10, 0.12, 0.11, 0.13]}
USEFUL = {"none-32": [0.9, 0.91, 0.92, 0.93], "obc-2": [0.8, 0.81, 0.82, 0.83], "obc-4": [0.9, 0.91, 0.92, 0.93]}


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


def test_publishing_logs_both_tables(made_up: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}

    class Run:
        def log(self, content: dict[str, Any]) -> None:
            logged.update(content)

        def finish(self) -> None:
            pass

    monkeypatch.setattr("lit_privq.tracking.open_run", lambda *_: Run())
    publish(made_up(LEAKS, USEFUL))
    assert len(logged["results"].data) == 24
    assert len(logged["conclusions"].data) == 3
    assert "utility change p" in logged["conclusions"].columns
