from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.artifacts.measures import Focus, Measures, PrivacyBounds, TargetMean
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.audit.case import Case
from lit_privq.audit.command import main
from lit_privq.audit.gate import broken, check, read_rule

TWO, FOUR = Variant("obc", 2, 2), Variant("obc", 4, 4)
FOCUS = Focus(("lira",), "auc", None, 0.5, (), "", {}, {}, (), "", {}, (), None, None, ())
RATE = "tpr_at_0.01"


def made(*cells: tuple[Key, float], slices: tuple[str, ...] = ()) -> Measures:
    means = {key: TargetMean(value, nan, nan, nan, "untested", 2, 0, "untested") for key, value in cells}
    return Measures({}, FOCUS, means=means, slices=dict.fromkeys(slices, 9))


def rate(variant: Variant, value: float, attacker: str = "unaware", attack: str = "lira", **where: str) -> object:
    return Key(variant, RATE, attacker, attack, **where), value


def found(measures: Measures, *rules: str, part: str = "all") -> list[str]:
    return list(broken(measures, rules, part))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tpr_at_0.001 > 0.02", ("tpr_at_0.001", ">", 0.02)),
        ("tpr_at_1e-05>=2e-2", ("tpr_at_1e-05", ">=", 0.02)),
        (" accuracy<.9 ", ("accuracy", "<", 0.9)),
        ("r2 <= -1", ("r2", "<=", -1.0)),
    ],
)
def test_a_rule_is_a_metric_an_operator_and_a_number(text: str, expected: tuple[str, str, float]) -> None:
    assert read_rule(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "auc", "auc > ", "> 0.5", "auc == 0.5", "auc > much", "auc > nan", "auc > 0.5 or so", "auc 0.5", "a > b > 1"],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a rule is a metric, one of <, <=, >, >= and a number.*; got '"):
        read_rule(text)


def test_quantized_models_are_checked_and_their_parent_is_not() -> None:
    measures = made(rate(FULL_PRECISION, 0.9), rate(FOUR, 0.5), rate(TWO, 0.1))
    assert found(measures, f"{RATE} > 0.2") == ["obc-4: tpr_at_0.01 is 0.5 (unaware attacker, lira), > 0.2"]
    assert found(measures, f"{RATE} > 0.6") == []


def test_where_nothing_is_quantized_all_models_are_checked() -> None:
    measures = made(rate(FULL_PRECISION, 0.9))
    assert found(measures, f"{RATE} > 0.2") == ["none-32: tpr_at_0.01 is 0.9 (unaware attacker, lira), > 0.2"]


def test_the_attacker_and_attack_that_meet_a_rule_most_clearly_are_named_once_a_variant() -> None:
    cells = [rate(TWO, 0.3), rate(TWO, 0.4, "adaptive"), rate(TWO, 0.35, "adaptive", "rmia"), rate(FOUR, 0.25)]
    measures = made(*cells)
    assert found(measures, f"{RATE} > 0.2") == [
        "obc-2: tpr_at_0.01 is 0.4 (adaptive attacker, lira), > 0.2",
        "obc-4: tpr_at_0.01 is 0.25 (unaware attacker, lira), > 0.2",
    ]
    assert found(measures, f"{RATE} < 0.32") == [
        "obc-2: tpr_at_0.01 is 0.3 (unaware attacker, lira), < 0.32",
        "obc-4: tpr_at_0.01 is 0.25 (unaware attacker, lira), < 0.32",
    ]


@pytest.mark.parametrize(("operator", "met"), [(">", False), (">=", True), ("<", False), ("<=", True)])
def test_a_value_on_the_bound_meets_only_the_rules_that_include_it(operator: str, met: bool) -> None:
    assert bool(found(made(rate(TWO, 0.25)), f"{RATE} {operator} 0.25")) is met


def test_every_rule_is_checked_and_utility_is_a_rule_s_metric_too() -> None:
    measures = made(rate(TWO, 0.3), (Key(TWO, "accuracy"), 0.7))
    assert found(measures, f"{RATE} > 0.2", "accuracy < 0.8") == [
        "obc-2: tpr_at_0.01 is 0.3 (unaware attacker, lira), > 0.2",
        "obc-2: accuracy is 0.7 (test set), < 0.8",
    ]


def test_a_slice_is_checked_by_itself_before_all_non_members() -> None:
    cells = [
        rate(TWO, 0.01),
        rate(TWO, 0.6, slice="canaries"),
        rate(TWO, nan, slice="canaries", against="slice"),  # fewer than one false positive among its own
    ]
    measures = made(*cells, slices=("canaries",))
    assert found(measures, f"{RATE} > 0.2") == []
    assert found(measures, f"{RATE} > 0.2", part="canaries") == [
        "obc-2: tpr_at_0.01 of canaries is 0.6 (unaware attacker, lira), > 0.2"
    ]


def test_a_slice_that_the_audit_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="--slice names one of the audit's slices, canaries, old; got young"):
        check([f"{RATE} > 0.2"], "young", {"all": [RATE], "canaries": [RATE], "old": [RATE]}, ())
    with pytest.raises(ValueError, match="the audit's slices, none; got young"):
        check([], "young", {"all": [RATE]}, ())


def test_a_metric_that_will_not_be_measured_on_a_slice_is_refused_with_those_that_will() -> None:
    known = {"all": [RATE, "accuracy"], "canaries": [RATE]}
    check(["accuracy > 0.2"], "all", known, ())
    with pytest.raises(ValueError, match=r"must name a metric of canaries, tpr_at_0.01; got accuracy; bounds on"):
        check(["accuracy > 0.2"], "canaries", known, ())


def test_the_largest_lower_bound_on_epsilon_of_any_target_is_a_metric_too() -> None:
    bounds = {
        Key(TWO, "epsilon", "unaware", "lira"): PrivacyBounds((16, 17), 0.0, (0.4, 1.6), 2, (nan, nan), (0.1, 0.9)),
        Key(TWO, "epsilon", "unaware", "lira", "canaries", "slice"): PrivacyBounds(
            (16,), 0.0, (3.5,), 1, (nan,), (2.0,)
        ),
    }
    measures = replace(made(rate(TWO, 0.1)), bounds=bounds)
    assert found(measures, "epsilon > 1") == ["obc-2: epsilon is 1.6 (unaware attacker, lira), > 1"]
    assert found(measures, "epsilon > 3") == []
    assert found(measures, "epsilon > 3", part="canaries") == [
        "obc-2: epsilon of canaries is 3.5 (unaware attacker, lira), > 3"
    ]


@pytest.mark.parametrize("rule", ["tpr_at_0.001 > 0.02", "tpr_at_0.5 > 0.02"])
def test_a_metric_that_is_empty_or_unknown_passes_no_gate(rule: str) -> None:
    measures = made(rate(TWO, 0.1), (Key(TWO, "tpr_at_0.001", "unaware", "lira"), nan))
    with pytest.raises(
        ValueError, match=r"needs a value of tpr_at_.* for every model; the metrics of all are tpr_at_0"
    ):
        found(measures, rule)


# The command line


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Arrays whose first twenty examples the models memorize."""
    random = np.random.default_rng(0)
    members = np.argsort(random.random((16, 600)), axis=0) < 8
    gap = np.where(np.arange(600) < 20, 20.0, 0.3)
    np.savez(tmp_path / "mine.npz", members=members, confidence=random.normal(size=members.shape) + gap * members)
    np.savez(tmp_path / "slices.npz", heart=np.arange(20))
    return tmp_path


@pytest.fixture
def gate(leaky: Path, page: list[Path]) -> Callable[..., None]:
    quick = ["--attacks", "lira_online_fixed", "--design", "leave_one_out", "--resamples", "0"]
    bounds = ["--max_fpr", "0.001", "0.05"]
    files = ["--input", str(leaky / "mine.npz"), "--slices", str(leaky / "slices.npz"), "--output", str(leaky / "out")]
    return lambda *options: main([*files, *quick, *bounds, *options])


def test_a_model_that_meets_a_rule_ends_the_audit_with_status_1_and_the_numbers(
    gate: Callable[..., None], leaky: Path, page: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        gate("--fail_if", "tpr_at_0.05 > 0.5", "auc > 0.9", "--slice", "heart")
    assert ended.value.code == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" is ")[0] for line in said] == ["none-32: tpr_at_0.05 of heart", "none-32: auc of heart"]
    assert said[0].endswith("is 1 (unaware attacker, lira_online_fixed), > 0.5")
    assert (leaky / "out" / "results.csv").is_file()  # the audit is complete all the same
    assert page == [leaky / "out"]


def test_models_that_meet_no_rule_end_it_as_always(
    gate: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    gate("--fail_if", "tpr_at_0.05 > 0.5")  # all members; the slice would meet it
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slice", "hart"], "--slice names one of the audit's slices, heart; got hart"),
        (["--fail_if", "tpr_at_0.001 > 0.02"], "needs a value of tpr_at_0.001 for every model; a target has too few"),
        (["--fail_if", "tpr_at_0.002 > 0.02"], "must name a metric of all, auc, .*; got tpr_at_0.002"),
        (["--fail_if", "accuracy > 0.02", "--slice", "heart"], "must name a metric of heart, auc, .*; got accuracy"),
        (["--fail_if", "tpr_at_0.05 is small"], "a rule is a metric, one of"),
        (["--delta", "1"], r"delta is a probability in \[0, 1\)"),
        (["--delta", "-0.1"], r"delta is a probability in \[0, 1\)"),
    ],
)
def test_a_gate_that_cannot_be_checked_is_refused_before_anything_is_attacked(
    gate: Callable[..., None], monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr(Case, "scores", lambda *_, **__: pytest.fail("attacked"))
    with pytest.raises(ValueError, match=said):
        gate(*options)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(600, bool), "slice heart in .* holds no example"),
        (np.ones(599, bool), "slice heart in .* must hold one boolean for each of 600 examples; got 599"),
    ],
)
def test_a_slice_that_fits_nothing_is_refused_before_anything_is_attacked(
    gate: Callable[..., None],
    leaky: Path,
    monkeypatch: pytest.MonkeyPatch,
    array: NDArray[np.bool_],
    said: str,
) -> None:
    np.savez(leaky / "slices.npz", heart=array)
    monkeypatch.setattr(Case, "scores", lambda *_, **__: pytest.fail("attacked"))
    with pytest.raises(ValueError, match=said):
        gate("--fail_if", "auc > 0.9")


def test_a_slice_without_a_member_in_some_target_has_no_rate_to_check(
    gate: Callable[..., None], leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(leaky / "slices.npz", heart=np.array([3]))
    monkeypatch.setattr(Case, "scores", lambda *_, **__: pytest.fail("attacked"))
    with pytest.raises(ValueError, match="a target has too few examples of heart"):
        gate("--fail_if", "tpr_at_0.05 > 0.5", "--slice", "heart")
