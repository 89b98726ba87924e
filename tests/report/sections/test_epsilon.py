from __future__ import annotations

from dataclasses import replace

from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Measured
from lit_privq.report.sections.epsilon import section
from lit_privq.report.view import View


def same(measured: Measured, *bounds: float) -> Measured:
    return replace(measured, epsilon=dict.fromkeys(measured.epsilon, bounds))


def test_a_bound_on_every_target_is_said_with_its_odds(seen: View, measured: Measured) -> None:
    found = section(seen, Inputs(same(measured, 0.6931472, 1.0)))
    assert found is not None
    assert "ε is at least 0.69 for each of 2 targets" in found.values["sentence"]
    assert "by 2.0 or more" in found.values["sentence"]
    assert found.values["table"].rows[0].cells[0].text == "at least 0.69 to 1.00"


def test_a_bound_on_some_targets_is_not_said_of_all(seen: View, measured: Measured) -> None:
    found = section(seen, Inputs(measured))
    assert found is not None
    assert "on the most exposed target" in found.values["sentence"]


def test_a_bound_of_zero_is_no_guarantee(seen: View, measured: Measured) -> None:
    found = section(seen, Inputs(same(measured, 0.0, 0.0)))
    assert found is not None
    assert "no lower bound on ε" in found.values["sentence"]
    assert found.values["table"].rows[0].cells[0] == found.values["table"].rows[-1].cells[-1]


def test_without_metrics_there_is_no_section(seen: View) -> None:
    assert section(seen, Inputs(Measured())) is None
