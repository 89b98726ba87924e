from __future__ import annotations

from dataclasses import replace

from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.sections.epsilon import epsilon


def same(measured: Measured, *bounds: float) -> Measured:
    return replace(measured, epsilon=dict.fromkeys(measured.epsilon, bounds))


def test_a_bound_on_every_target_is_said_with_its_odds(seen: Focus, measured: Measured) -> None:
    section = epsilon(seen, same(measured, 0.6931472, 1.0))
    assert section is not None
    assert "every ε below 0.69 for each of 2 targets" in section.sentence
    assert "by 2.0 or more" in section.sentence
    assert section.table.rows[0].cells[0].text == "at least 0.69 to 1.00"


def test_a_bound_on_some_targets_is_not_said_of_all(seen: Focus, measured: Measured) -> None:
    section = epsilon(seen, measured)
    assert section is not None
    assert "on the most exposed target" in section.sentence


def test_zero_refutes_nothing(seen: Focus, measured: Measured) -> None:
    section = epsilon(seen, same(measured, 0.0, 0.0))
    assert section is not None
    assert "refutes no ε" in section.sentence
    assert section.table.rows[0].cells[0] == section.table.rows[-1].cells[-1]


def test_without_metrics_there_is_no_section(seen: Focus) -> None:
    assert epsilon(seen, Measured()) is None
