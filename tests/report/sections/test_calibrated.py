from __future__ import annotations

from dataclasses import replace

from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Measured
from lit_privq.report.sections.calibrated import section
from lit_privq.report.view import View


def test_leakage_stands_beside_that_without_calibration_examples(seen: View, measured: Measured) -> None:
    found = section(seen, Inputs(measured))
    assert found is not None
    assert len(found.values["table"].rows) == 7
    assert all(row.cells[2].text == "−0.2 points" for row in found.values["table"].rows)
    assert found.values["sentence"] == (
        "Without them 88 members or more are left to judge a target on, and leakage changes by no more than luck "
        "explains."
    )


def test_a_change_that_luck_does_not_explain_is_said(seen: View, measured: Measured) -> None:
    certain = {
        key: without._replace(change=without.change._replace(p=0.01))
        for key, without in measured.without_calibration.items()
    }
    found = section(seen, Inputs(replace(measured, without_calibration=certain)))
    assert found is not None
    assert "for 7 of 7 variants; luck alone makes about 1" in found.values["sentence"]


def test_nothing_calibrated_is_no_section(seen: View) -> None:
    assert section(seen, Inputs(Measured())) is None
