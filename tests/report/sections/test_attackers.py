from __future__ import annotations

from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.attackers import section
from lit_privq.report.view import View


def test_the_maximum_is_the_largest_of_a_row_and_names_its_attacker(seen: View) -> None:
    found = section(seen, Inputs())
    assert found.values["table"].heads == ("Model", "Maximum", "Unaware attacker", "Adaptive attacker")
    for row in found.values["table"].rows:
        top, *each = row.cells
        assert top.note in ("unaware", "adaptive")
        rates = {cell.text: float(cell.text.split()[0]) for cell in each if cell.text != "–"}
        assert top.text == max(rates, key=lambda text: rates[text])
        assert all("LiRA" in cell.note for cell in each if cell.text != "–")
    assert found.values["sentence"].startswith("Full precision: TPR at 1")
    assert "for other targets), by " in found.values["sentence"]


def test_full_precision_has_no_adaptive_attacker(seen: View) -> None:
    first, *others = section(seen, Inputs()).values["table"].rows
    assert first.cells[-1].text == "–"
    assert all(row.cells[-1].text != "–" for row in others)
