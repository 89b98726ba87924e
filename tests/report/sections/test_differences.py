from __future__ import annotations

from collections.abc import Callable

from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.differences import section
from lit_privq.report.view import View


def test_a_row_is_strong_where_the_test_that_counts_shows_a_difference(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    table = found.values["table"]
    assert table.heads[2:] == ("Change of TPR at 1\xa0% FPR", "All tests counted", "Change of AUC")
    assert len(table.rows) == 14
    assert found.values["tests"] == 7
    counted = [row for row in table.rows if row.cells[2].text != "–"]
    assert [row.cells[0].text for row in counted] == ["adaptive"] * 7
    shown = [row.name for row in counted if row.cells[2].strong]
    verdicts = {seen.label(v): change.verdict for v in seen.results.variants if (change := seen.saving(v))}
    assert shown == [name for name, verdict in verdicts.items() if verdict == "lower"]
    assert all(row.cells[1].strong for row in counted if row.cells[2].strong)
    assert all("p\xa0" in row.cells[1].note for row in table.rows)


def test_nothing_compared_is_no_section(seen_with: Callable[..., View]) -> None:
    assert section(seen_with(changes={}), Inputs()) is None
