from __future__ import annotations

from lit_privq.artifacts.variant import Variant
from lit_privq.report.focus import Focus
from lit_privq.report.measured import Measured
from lit_privq.report.sections.attackers import attackers, best


def test_the_best_of_an_attacker_is_his_largest_mean(seen: Focus, measured: Measured) -> None:
    found = best(seen, measured)
    assert list(found) == ["unaware", "adaptive"]
    for attacker, variants in found.items():
        for variant, top in variants.items():
            rates = [
                rate.value
                for key, rate in measured.means.items()
                if (key.variant, key.metric, key.attacker) == (variant, seen.metric, attacker)
            ]
            assert top.rate.value == max(rates)


def test_the_maximum_is_the_largest_of_a_row_and_names_its_attacker(seen: Focus, measured: Measured) -> None:
    section = attackers(seen, measured)
    assert section is not None
    assert section.table.heads == ("Model", "Maximum", "Unaware attacker", "Adaptive attacker")
    for row in section.table.rows:
        top, *each = row.cells
        assert top.note in ("unaware", "adaptive")
        assert top.text in [cell.text for cell in each]
        assert all("LiRA" in cell.note for cell in each if cell.text != "–")
    assert section.sentence.startswith("Full precision: members found at 1")


def test_full_precision_has_no_adaptive_attacker(seen: Focus, measured: Measured) -> None:
    assert Variant("none", 32, 32) not in best(seen, measured)["adaptive"]


def test_without_metrics_there_is_no_section(seen: Focus) -> None:
    assert attackers(seen, Measured()) is None
