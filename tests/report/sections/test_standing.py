from __future__ import annotations

from dataclasses import replace

from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.sections.standing import examples


def test_what_is_made_safe_stands_beside_what_newly_stands_out(seen: Focus, measured: Measured) -> None:
    section = examples(seen, measured)
    assert section is not None
    assert section.table is not None
    row = section.table.rows[0]
    assert row.cells[1].text == "200 of 435"
    assert row.cells[2].text == str(300 - (435 - 200))
    assert section.sentences[0].startswith("435 of 1200 examples stand out")


def test_degenerate_variance_is_said(seen: Focus, measured: Measured) -> None:
    section = examples(seen, measured)
    assert section is not None
    assert section.sentences[-1].startswith("2 examples have the same confidence")


def test_full_precision_alone_is_no_table(seen: Focus, measured: Measured) -> None:
    plain = {variant: one for variant, one in measured.standing.items() if not variant.quantized}
    section = examples(seen, replace(measured, standing=plain))
    assert section is not None
    assert section.table is None


def test_without_metrics_there_is_no_section(seen: Focus) -> None:
    assert examples(seen, Measured()) is None
