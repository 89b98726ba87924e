"""Models that diverge: left out of a study, or the end of it."""

import json
from typing import Any

import pytest


def files(bench: Any, pattern: str) -> set[str]:
    return {path.relative_to(bench.output).as_posix() for path in bench.output.glob(pattern)}


def test_a_model_that_diverged_is_left_out_of_all_that_follows(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "diverge"])
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\non_divergence: leave_out")
    bench.study()
    assert "train-000-002: diverged and left out: checkpoints/none-32/000.ckpt" in capsys.readouterr().err
    assert files(bench, "checkpoints/*/000*") == {"checkpoints/none-32/000.ckpt.diverged"}
    assert files(bench, "confidence/*/000*") == set()
    assert files(bench, "confidence/none-32/*") == {f"confidence/none-32/{index:03d}.npz" for index in range(1, 6)}
    (audit,) = [call for call in bench.calls() if call.startswith("audit")]
    assert "--leave_out 0 --report false" in audit
    assert json.loads((bench.output / "study.json").read_text())["left_out"] == [0]
    n_calls = len(bench.calls())
    bench.study()
    assert len(bench.calls()) == n_calls, "the same training would diverge again"


def test_a_quantized_model_that_diverged_is_left_out_at_every_precision(bench: Any) -> None:
    bench.order(["ptq/adaround", "diverge"])
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\non_divergence: leave_out")
    bench.study()
    (audit,) = [call for call in bench.calls() if call.startswith("audit")]
    assert "--leave_out 4 --report false" in audit
    assert files(bench, "confidence/adaround-*/*") == {
        "confidence/adaround-2/005.npz", "confidence/adaround-1.58-last8/005.npz",
    }  # fmt: skip


def test_a_model_that_diverged_is_trained_again_by_another_recipe(bench: Any) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "diverge"])
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\non_divergence: leave_out")
    bench.study()
    bench.change("shadow/tiny.yaml", "model:", "trainer: {max_epochs: 9}\nmodel:")
    bench.study("--overwrite")
    assert "checkpoints/none-32/000.ckpt" in files(bench, "checkpoints/none-32/*.ckpt")
    assert "--leave_out" not in [call for call in bench.calls() if call.startswith("audit")][-1]


def test_by_default_a_model_that_diverged_stops_the_study_and_the_others_are_kept(bench: Any) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "diverge"])
    with pytest.raises(ValueError, match=r"model 0 holds NaN \(train-000-002, see .*train-000-002.log\)"):
        bench.study("--jobs", "1")
    assert files(bench, "confidence/*") == set()
    n_calls = len(bench.calls())
    bench.study("--jobs", "1")
    trained = [
        call.split("--data.model_index ")[1].split()[0]
        for call in bench.calls()[n_calls:]
        if call.startswith("fit") and "shadow/tiny.yaml" in call
    ]
    assert trained == ["0:1", "3:6"]


def test_too_many_diverged_models_are_no_study(bench: Any) -> None:
    bench.order(["shadow/tiny.yaml", "always diverge"])
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 1\non_divergence: leave_out")
    with pytest.raises(ValueError, match=r"4 of 4 shadows and 2 of 2 targets diverged, too many"):
        bench.study()
    assert not (bench.output / "results.csv").exists()
