from __future__ import annotations

from lit_privq.artifacts.variant import Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Measured
from lit_privq.report.sections.attackers import best, section
from lit_privq.report.view import View


def test_the_best_of_an_attacker_is_the_largest_mean(seen: View, measured: Measured) -> None:
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


def test_the_maximum_is_the_largest_of_a_row_and_names_its_attacker(seen: View, measured: Measured) -> None:
    found = section(seen, Inputs(measured))
    assert found is not None
    assert found.values["table"].heads == ("Model", "Maximum", "Unaware attacker", "Adaptive attacker")
    for row in found.values["table"].rows:
        top, *each = row.cells
        assert top.note in ("unaware", "adaptive")
        assert top.text in [cell.text for cell in each]
        assert all("LiRA" in cell.note for cell in each if cell.text != "–")
    assert found.values["sentence"].startswith("Full precision: TPR at 1")


def test_full_precision_has_no_adaptive_attacker(seen: View, measured: Measured) -> None:
    assert Variant("none", 32, 32) not in best(seen, measured)["adaptive"]


def test_without_metrics_there_is_no_section(seen: View) -> None:
    assert section(seen, Inputs(Measured())) is None
