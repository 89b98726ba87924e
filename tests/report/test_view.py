from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.artifacts.results import read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.report.view import choose_view

Write = Callable[..., Path]
FULL = Variant("none", 32, 32)


def rate(bound: str, value: object, attacker: str = "unaware", attack: str = "threshold") -> dict[str, object]:
    return {"metric": f"tpr_at_{bound}", "value": value, "attacker": attacker, "attack": attack}


def test_the_papers_bound_is_taken_where_it_was_measured(write_results: Write) -> None:
    seen = choose_view(read_results(write_results(rate("0.001", 0.02), rate("0.01", 0.1))))
    assert (seen.bound, seen.empty) == (0.001, ())


def test_an_empty_bound_moves_the_axis_and_is_remembered(study: Path) -> None:
    seen = choose_view(read_results(study / "results.csv"))
    assert (seen.bound, seen.empty) == (0.01, (0.001,))


def test_a_bound_that_some_targets_are_too_small_for_is_passed_over(write_results: Write) -> None:
    rates = [
        {**rate(bound, value), "target": target}
        for target in (16, 17)
        for bound, value in (("0.001", 0.02 if target == 16 else ""), ("0.01", 0.1))
    ]
    seen = choose_view(read_results(write_results(*rates)))
    assert (seen.bound, seen.empty) == (0.01, (0.001,))


def test_a_study_too_small_for_any_bound_is_seen_through_the_auc(write_results: Write) -> None:
    auc = {"metric": "auc", "value": 0.6, "attacker": "unaware", "attack": "threshold"}
    seen = choose_view(read_results(write_results(rate("0.001", ""), rate("0.01", ""), auc)))
    assert (seen.metric, seen.bound, seen.chance) == ("auc", None, 0.5)
    assert seen.worst(FULL) == {16: 0.6}


def test_the_papers_pair_of_attacks_comes_first(study: Path, write_results: Write) -> None:
    assert choose_view(read_results(study / "results.csv")).attacks == ("lira_online_fixed", "lira_offline_fixed")
    assert choose_view(read_results(write_results(rate("0.01", 0.1, attack="mine")))).attacks == ("mine",)


def test_the_strongest_attacker_is_the_one_that_finds_most(write_results: Write) -> None:
    low: dict[str, object] = {"method": "obc", "bits": 2, "last_bits": 2}
    path = write_results(rate("0.01", 0.03), low | rate("0.01", 0.01), low | rate("0.01", 0.02, "adaptive"))
    seen = choose_view(read_results(path))
    assert seen.strongest(Variant("obc", 2, 2)) == "adaptive"
    saving = seen.saving(Variant("obc", 2, 2))
    assert saving is not None
    assert saving.mean == pytest.approx(-0.01)


def test_accuracy_alone_is_no_audit(write_results: Write) -> None:
    with pytest.raises(ValueError, match="at least one attack"):
        choose_view(read_results(write_results({"metric": "accuracy", "value": 0.9})))


def test_an_attack_that_full_precision_never_met_is_no_headline(write_results: Write) -> None:
    quantized = {"method": "nearest", "bits": "2", "last_bits": "2"}
    paired = rate("0.01", 0.3, "paired", "lira_online_fixed") | quantized
    seen = choose_view(read_results(write_results(rate("0.01", 0.1), rate("0.01", 0.05) | quantized, paired)))
    assert seen.attack == "threshold"
