from __future__ import annotations

from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.sections.operating import operating


def test_the_strongest_attacker_of_every_variant_is_shown(seen: Focus, measured: Measured) -> None:
    section = operating(seen, measured)
    assert section is not None
    assert [row.cells[0].text for row in section.table.rows] == [seen.strongest(v) for v in seen.results.variants]
    assert section.bound == 0.01
    assert len(section.every.rows) == len(measured.operating_points)


def test_rates_and_precisions_stand_with_their_intervals(seen: Focus, measured: Measured) -> None:
    section = operating(seen, measured)
    assert section is not None
    assert section.table.heads[-1] == "Rightly accused, if 1 in 100 is a member"
    row = section.table.rows[0]
    assert (row.cells[1].text, row.cells[1].note) == ("1.10\xa0%", "0.80 to 1.50\xa0%")
    assert (row.cells[3].text, row.cells[3].note) == ("90\xa0%", "80 to 95\xa0%")
    assert (row.cells[5].text, row.cells[5].note) == ("–", "")
    assert "aiming at 1\xa0% false positives, the attacker reaches 1.10\xa0%" in section.sentence


def test_without_metrics_there_is_no_section(seen: Focus) -> None:
    assert operating(seen, Measured()) is None
