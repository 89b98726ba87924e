from __future__ import annotations

from dataclasses import replace

from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.sections.calibrated import calibrated


def test_leakage_stands_beside_that_without_calibration_examples(seen: Focus, measured: Measured) -> None:
    section = calibrated(seen, measured)
    assert section is not None
    assert len(section.table.rows) == 7
    assert all(row.cells[2].text == "−0.2 points" for row in section.table.rows)
    assert section.sentence == (
        "Without them 88 members or more are left to judge a target on, and leakage changes by no more than luck "
        "explains."
    )


def test_a_change_that_luck_does_not_explain_is_said(seen: Focus, measured: Measured) -> None:
    certain = {
        key: without._replace(change=without.change._replace(p=0.01))
        for key, without in measured.without_calibration.items()
    }
    section = calibrated(seen, replace(measured, without_calibration=certain))
    assert section is not None
    assert "for 7 of 7 variants; luck alone makes about 1" in section.sentence


def test_nothing_calibrated_is_no_section(seen: Focus) -> None:
    assert calibrated(seen, Measured()) is None
