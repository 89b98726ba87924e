from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lit_privq.report.inputs import Inputs
from lit_privq.report.measured import Difference, Measured
from lit_privq.report.sections.differences import differences, holm, phrase, section, sentences
from lit_privq.report.view import View


def test_holm_is_bonferroni_for_the_smallest_and_never_falls() -> None:
    p = [0.2, 0.001, 0.03, 0.04]
    corrected = holm(p)
    assert corrected[1] == 4 * 0.001
    ordered = [value for _, value in sorted(zip(p, corrected, strict=True))]
    assert ordered == sorted(ordered)
    assert max(holm([0.9, 0.8])) == 1
    assert holm([]) == []


def test_differences_are_those_of_the_pages_measure_and_attack(seen: View, measured: Measured) -> None:
    found = differences(seen, measured)
    assert list(found) == ["unaware", "adaptive"]
    assert len(found["adaptive"]) == 7


def test_the_sentence_counts_what_is_sure(seen: View, measured: Measured) -> None:
    shown, sentence = sentences(seen, measured)
    assert " lowers leakage by " in shown
    assert "of 7 variants lower leakage" in sentence
    assert "Holm" in sentence
    found = section(seen, Inputs(measured))
    assert found is not None
    strong = [row for row in found.values["table"].rows if any(cell.strong for cell in row.cells)]
    assert strong
    assert all("p\xa0=\xa0" in row.cells[2].text for row in strong)


def test_few_variants_get_a_sentence_each(seen: View, measured: Measured) -> None:
    one = next(variant for variant in differences(seen, measured)["adaptive"] if variant.bits == 1.58)
    few = {key: difference for key, difference in measured.differences.items() if key.variant == one}
    assert sentences(seen, replace(measured, differences=few))[0].startswith("Nearest 1.58\xa0bits lowers leakage by ")


def test_one_target_without_resamples_is_not_tested(seen: View, measured: Measured) -> None:
    bare = {
        key: Difference(difference.value, math.nan, math.nan, math.nan)
        for key, difference in measured.differences.items()
    }
    assert sentences(seen, replace(measured, differences=bare))[0].startswith("One target")


@pytest.mark.parametrize(("value", "verb"), [(-0.02, "lowers"), (0.02, "raises")])
def test_a_difference_is_said_in_the_direction_it_has(value: float, verb: str) -> None:
    low, high = sorted((value / 2, 1.5 * value))
    assert phrase(Difference(value, low, high, 0.01), 1).startswith(f"{verb} leakage by 2.0 points (1.0 to 3.0)")


def test_nothing_compared_is_no_section(seen: View) -> None:
    assert section(seen, Inputs(Measured())) is None
