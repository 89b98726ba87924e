from dataclasses import replace

from lit_privq.artifacts.results import Key, OwnValue
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.numbers import all_attacks, section, summary
from lit_privq.report.view import View


def test_every_variant_has_a_row_and_every_row_all_columns(seen: View) -> None:
    table = summary(seen)
    assert len(table.rows) == 8
    assert {len(row.cells) for row in table.rows} == {len(table.heads) - 1}
    names = [row.name.replace("\xa0", " ") for row in table.rows[-2:]]
    assert names == ["AdaRound 1.58 bits", "AdaRound 1.58 bits, last layer 8"]


def test_what_a_phone_shows_first_is_utility_and_leakage(seen: View) -> None:
    assert summary(seen).heads[:3] == ("Model", "Accuracy", "TPR at 1\xa0% FPR")


def test_the_strongest_attacker_of_a_row_is_strong(seen: View) -> None:
    table = summary(seen)
    adaptive = table.heads.index("Adaptive attacker") - 1
    assert [row.cells[adaptive].strong for row in table.rows] == [False] + [True] * 7


def test_a_small_difference_is_called_unclear(seen: View) -> None:
    table = summary(seen)
    column = table.heads.index("Change of leakage") - 1
    cells = {row.name.replace("\xa0", " "): row.cells[column] for row in table.rows}
    assert cells["AdaRound 4 bits"].note.endswith(": unclear")
    assert cells["Nearest 1.58 bits"].text.startswith("−")
    assert cells["Nearest 1.58 bits"].strong


def test_intervals_stand_below_the_rates(seen: View) -> None:
    assert " to " in summary(seen).rows[0].cells[1].note


def test_one_attack_is_the_strongest_of_each_row(seen: View) -> None:
    table = all_attacks(seen)
    assert len(table.rows) == 15
    assert all(sum(cell.strong for cell in row.cells) == 1 for row in table.rows)


def reaching(seen: View, fpr: float) -> View:
    """The believable study, if full precision reached that false-positive rate at 1 %."""
    key = seen.focus.key(FULL_PRECISION)
    cells = {target: cell._replace(fpr=fpr) for target, cell in seen.results.series[key].items()}
    return replace(seen, results=replace(seen.results, series={**seen.results.series, key: cells}))


def test_a_rate_read_far_below_its_bound_says_where(seen: View) -> None:
    tied = reaching(seen, 0.002)
    assert summary(tied).rows[0].cells[1].note.endswith(" at 0.20\xa0% FPR")
    assert section(tied, Inputs()).values["tied"]


def test_a_rate_read_near_its_bound_says_nothing(seen: View) -> None:
    near = reaching(seen, 0.006)
    assert "FPR" not in summary(near).rows[0].cells[1].note
    assert not section(near, Inputs()).values["tied"]


def test_weights_left_in_float_are_counted_where_there_are_any(seen: View) -> None:
    assert "Weights left in float" not in summary(seen).heads
    counts = {
        Key(Variant("nearest", 2, 2), "float_weights"): {16: OwnValue(3.0, 0.0, 0.0), 17: OwnValue(3.0, 0.0, 0.0)}
    }
    table = summary(replace(seen, results=replace(seen.results, series={**seen.results.series, **counts})))
    column = table.heads.index("Weights left in float") - 1
    assert [row.cells[column].text for row in table.rows if row.name == "Nearest 2\xa0bits"] == ["3"]
    assert sum(row.cells[column].text == "–" for row in table.rows) == len(table.rows) - 1
