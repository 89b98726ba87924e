from __future__ import annotations

import json
from collections.abc import Callable
from math import isnan, nan
from pathlib import Path

import pytest

from lit_privq.artifacts.measures import (
    Change,
    Family,
    Focus,
    Measures,
    OwnChange,
    PrivacyBounds,
    Rate,
    Reachable,
    ShadowThreshold,
    SliceGap,
    Standing,
    TargetMean,
    Used,
    compared,
    read_measures,
    write_measures,
)
from lit_privq.artifacts.results import Key, OwnValue, Results, read_results
from lit_privq.artifacts.variant import FULL_PRECISION, Variant

COARSE = Variant("obc", 1.58, 8.0)
KEY = Key(COARSE, "tpr_at_0.01", "adaptive", "lira")
CHANGE = Change(-0.02, -0.03, -0.01, 0.001, 0.002, "lower", "lower", (OwnChange(8, -0.02, nan, nan, "untested"),))
FOCUS = Focus(
    ("lira",), "tpr_at_0.01", 0.01, 0.01, (0.001,), "accuracy", {"none-32": "unaware", COARSE.name: "adaptive"},
    {COARSE.name: {"adaptive": "lira"}}, (COARSE.name,), "canaries",
    {COARSE.name: "adaptive"}, (COARSE.name,), COARSE.name, None, (),
)  # fmt: skip
RESULTS = Results(
    "digits", {"": "small"}, {Key(v, "accuracy"): {8: OwnValue(0.9, nan, nan)} for v in (FULL_PRECISION, COARSE)}
)
UNMEASURED = TargetMean(nan, nan, nan, 0.001, "untested", 4, 0, "untested")
THRESHOLD = ShadowThreshold(
    COARSE, "adaptive", "lira", 0.01, 1.5, Rate(0.01, 0.0, 0.02), Rate(0.05, 0.01, 0.1), {0.5: Rate(nan, nan, nan)}
)
BOUNDS = PrivacyBounds(
    (8, 9), 1e-5, (0.0, 1.5), 1, (0.1, nan), (0.0, 0.9), ((0.0, 1.0), (0.0, 0.5, 1.0)), ((1.0, 0.0), (1.0, 0.2, 0.0))
)
FAMILY = Family(("obc-2", "obc-1"), "lira", ("obc-2",), "obc-2", "tpr_at_0.01", *[UNMEASURED] * 3, CHANGE)
WHOLE = Measures(
    {"seed": 0, "attacks": {"lira": "LiRA()"}},
    FOCUS,
    {"lira": "LiRA"},
    ("RMIA – at temperature 1",),
    {KEY: TargetMean(0.05, 0.02, 0.1, 0.01, "higher", 4, 3, "higher"), KEY._replace(metric="tpr_at_0.001"): UNMEASURED},
    {KEY: CHANGE},
    {KEY._replace(slice="canaries"): SliceGap(30, CHANGE)},
    {"canaries": 30},
    (THRESHOLD,),
    {KEY: BOUNDS},
    {KEY: Reachable(0.25)},
    {KEY: Used(("parent", "target + parent"))},
    (FAMILY,),
    {COARSE.name: Standing(30, 40, 12, (3, 1), 0.5, 0.6, 0, 100)},
)


def write(path: Path, **changes: object) -> Path:
    """A metrics.json whose parts are changed behind its writer's back; a part that is None is left out."""
    write_measures(path, WHOLE)
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: part for name, part in content.items() if part is not None}))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_measures(tmp_path / "metrics.json", WHOLE)
    read = read_measures(tmp_path / "metrics.json", RESULTS)
    assert repr(read) == repr(WHOLE)  # NaN is not equal to itself, but written alike
    assert read.focus == FOCUS
    assert isnan(read.changes[KEY].each[0].low)


def test_a_number_that_could_not_be_measured_is_null_and_the_file_is_plain_json(tmp_path: Path) -> None:
    write_measures(tmp_path / "metrics.json", WHOLE)
    text = (tmp_path / "metrics.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["means"][1]["value"] is None
    assert content["means"][0] | {"variant": "obc-1.58-last8", "verdict": "higher"} == content["means"][0]


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.json is not there; .* run `audit` first"):
        read_measures(tmp_path / "metrics.json", RESULTS)


OLD_MEAN = {"variant": "none-32", "attacker": "a", "attack": "b", "metric": "auc", "mean": 0.5, "low": 0.4, "high": 0.6}


@pytest.mark.parametrize(
    "changes",
    [
        {"focus": None},
        {"means": [OLD_MEAN]},
        {"means": [3]},
        {"bounds": 3},
        {"changes": [{"variant": "unheard-of-3"}]},
        {"thresholds": None, "operating_points": []},
    ],
    ids=["no focus", "an earlier version", "a number", "no list", "another audit", "other parts"],
)
def test_another_file_is_refused_with_the_command_that_makes_it_anew(
    changes: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"metrics\.json must be written by this version's audit.*run `audit` again"):
        read_measures(write(tmp_path / "metrics.json", **changes), RESULTS)


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match="run `audit` again"):
        read_measures(tmp_path / "metrics.json", RESULTS)


def test_an_end_of_an_interval_that_touches_is_no_difference() -> None:
    assert compared(0.01, 0.02, 0.01) == compared(0.0, 0.01, 0.01) == "unclear"
    assert compared(0.011, 0.02, 0.01) == "higher"
    assert compared(0.011, 0.02, nan) == "untested"


def test_targets_agree_only_where_each_has_its_own_interval_on_that_side() -> None:
    lower, unclear = OwnChange(8, -0.02, -0.03, -0.01, "lower"), OwnChange(9, -0.02, -0.05, 0.01, "unclear")
    for each, agreed in (((lower,), True), ((lower, unclear), False), ((), False)):
        change = Change(-0.02, nan, nan, nan, nan, "untested", "untested", each)
        assert change.agreed("lower") is agreed
        assert not change.agreed("higher")


def test_an_audit_that_judged_the_worst_case_by_rates_is_to_be_run_again(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": [0.30, 0.31, 0.32], "obc-2": [0.20, 0.22, 0.21]}
    folder = made_up(leaks, slices={"canaries": leaks})
    path, results = folder / "metrics.json", read_results(folder / "results.csv")
    assert read_measures(path, results).focus.worst_family == ("obc-2",)
    content = json.loads(path.read_text())
    for change in content["changes"]:
        change["holm"] = None if change["against"] == "slice" else change["holm"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"the worst case of obc-2, whose AUC was not counted.*run `audit` again"):
        read_measures(path, results)
