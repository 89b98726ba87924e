from __future__ import annotations

from collections.abc import Callable

from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.standing import section
from lit_privq.report.view import View


def test_what_is_made_safe_stands_beside_what_newly_stands_out(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert found.values["table"] is not None
    row = found.values["table"].rows[0]
    assert row.cells[1].text == "200 of 435"
    assert row.cells[2].text == str(300 - (435 - 200))
    assert found.values["sentences"][0].startswith("435 of 1200 examples stand out")


def test_degenerate_variance_is_said(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert found.values["sentences"][-1].startswith("2 examples have the same confidence")


def test_full_precision_alone_is_no_table(seen: View, seen_with: Callable[..., View]) -> None:
    plain = {"none-32": seen.measures.standing["none-32"]}
    found = section(seen_with(standing=plain), Inputs())
    assert found is not None
    assert found.values["table"] is None


def test_without_metrics_there_is_no_section(bare: View) -> None:
    assert section(bare, Inputs()) is None
