from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lit_privq.report import build
from lit_privq.report.figures import tradeoff, useful
from lit_privq.report.headline import headline
from lit_privq.report.utility import ACCURACY, R_SQUARED
from lit_privq.report.view import View

Rows = list[dict[str, object]]
Write = Callable[..., View]


def model(method: str, bits: float, metric: str, value: float, leak: float) -> Rows:
    head = {"method": method, "bits": bits, "last_bits": bits}
    attack = {"attacker": "unaware", "attack": "lira_online_fixed", "metric": "tpr_at_0.01"}
    rows: Rows = []
    for target in range(4):
        rows.append(head | {"target": target, "metric": metric, "value": value + 1e-3 * target})
        rows.append(head | attack | {"target": target, "value": leak + 1e-3 * target})
    return rows


def viewed(write: Write, metric: str, value: float, full: float = 0.9) -> View:
    rows = [*model("none", 32, metric, full, 0.1), *model("obc", 2, metric, value, 0.05)]
    return write(*rows)


def test_what_was_measured_is_what_is_spoken_of(write_view: Write) -> None:
    assert viewed(write_view, "accuracy", 0.8).utility is ACCURACY
    assert viewed(write_view, "r2", 0.8).utility is R_SQUARED


def test_the_answer_prices_a_saving_in_r_squared(write_view: Write) -> None:
    found = headline(viewed(write_view, "r2", 0.813))
    assert found.sentence.endswith("and costs 0.087 of R².")
    assert found.details[1].startswith("Full precision has an R² of 0.902 on the test set.")


def test_a_change_of_r_squared_that_is_not_shown_says_so(write_view: Write) -> None:
    rows = [*model("none", 32, "r2", 0.9, 0.1), *model("obc", 2, "r2", 0.9, 0.05)]
    for row, wobble in zip(
        [row for row in rows if row["metric"] == "r2"][4:], (0.01, -0.01, 0.022, -0.03), strict=True
    ):
        row["value"] = float(str(row["value"])) + wobble
    told = headline(write_view(*rows)).sentence
    assert ", and no change of R² is shown (−0.002, " in told


@pytest.mark.parametrize(("value", "full", "scale"), [(0.5, 0.9, "linear"), (-40.0, -5.0, "symlog")])
def test_an_axis_of_r_squared_holds_models_that_are_worse_than_a_constant(
    write_view: Write, value: float, full: float, scale: str
) -> None:
    found = viewed(write_view, "r2", value, full)
    vertical, horizontal = tradeoff(found).axes[0], useful(found).axes[0]
    assert (vertical.get_yscale(), horizontal.get_xscale()) == (scale, scale)
    for low, high in (vertical.get_ylim(), horizontal.get_xlim()):
        assert low < value < full < high
    assert not np.isnan(vertical.get_ylim()).any()


def test_a_regression_makes_a_page(write_view: Write, tmp_path: Path) -> None:
    viewed(write_view, "r2", -40.0)
    page = build(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "R² on the test set" in text
    assert "ccuracy" not in text
