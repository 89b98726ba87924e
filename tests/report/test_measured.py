from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest

from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.measured import Measured, read_measured
from lit_privq.report.view import View

FULL, COARSE = Variant("none", 32, 32), Variant("adaround", 2, 2)


def test_every_part_is_found_by_what_it_is_about(measured: Measured) -> None:
    key = Key(COARSE, "tpr_at_0.01", "adaptive", "lira_online_fixed")
    assert measured.means[key].low < measured.means[key].value < measured.means[key].high
    assert measured.differences[key].p == 0.001
    assert measured.without_calibration[key].change.value == -0.002
    assert measured.without_calibration[key].members == 88
    assert measured.epsilon[key._replace(metric="epsilon")][:3] == (0.0, 0.5, 1.0)
    assert measured.standing[COARSE].made_safe == 200
    assert measured.notes == ("RMIA at temperature 1",)
    point = next(point for point in measured.operating_points if point.key == key)
    assert point.precision[0.5] == (0.9, 0.8, 0.95)
    assert isnan(point.precision[0.01].value)


def test_no_file_is_no_metrics(seen: View, tmp_path: Path) -> None:
    assert read_measured(tmp_path / "metrics.json", seen.results) == Measured(operating_points=[])


def test_variants_that_results_do_not_hold_are_left_out(seen: View, tmp_path: Path) -> None:
    record = {
        "variant": "unheard-of-3",
        "attacker": "a",
        "attack": "b",
        "metric": "auc",
        "mean": 1,
        "low": 1,
        "high": 1,
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"means": [record]}))
    assert read_measured(tmp_path / "metrics.json", seen.results).means == {}


@pytest.mark.parametrize("content", [{"means": [{"variant": "none-32"}]}, {"means": [3]}, {"epsilon": 3}])
def test_a_damaged_file_is_named(content: object, seen: View, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"metrics\.json must be the metrics of an audit.*run `audit` again"):
        read_measured(tmp_path / "metrics.json", seen.results)
