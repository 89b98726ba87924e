from collections.abc import Callable
from pathlib import Path

from lit_privq.artifacts.results import read_results
from lit_privq.report.headline import answer
from lit_privq.report.view import choose_view

Rows = list[dict[str, object]]
Write = Callable[..., Path]


def model(method: str, bits: float, accuracy: float, leaks: list[float]) -> Rows:
    head = {"method": method, "bits": bits, "last_bits": bits}
    attack = {"attacker": "unaware", "attack": "lira_online_fixed", "metric": "tpr_at_0.01"}
    rows: Rows = []
    for target, leak in enumerate(leaks):
        rows.append(head | {"target": target, "metric": "accuracy", "value": accuracy + 1e-4 * target})
        rows.append(head | attack | {"target": target, "value": leak})
    return rows


def said(path: Path) -> tuple[str, str]:
    found = answer(choose_view(read_results(path)))
    return found.headline.replace("\xa0", " "), " ".join(found.details).replace("\xa0", " ")


FULL = model("none", 32, 0.90, [0.10, 0.11, 0.12, 0.13])


def test_the_least_costly_clear_saving_is_the_headline(write_results: Write) -> None:
    path = write_results(
        *FULL, *model("obc", 2, 0.88, [0.06, 0.07, 0.08, 0.09]), *model("obc", 1.58, 0.50, [0.01, 0.02, 0.03, 0.04])
    )
    headline, details = said(path)
    assert headline == (
        "The least costly clear saving is obc 2 bits: it brings the TPR at 1 % FPR "
        "from 11.5 % to 7.5 % and costs 2.0 points of accuracy."
    )
    assert "The largest clear saving is obc 1.58 bits" in details
    assert "costs 40.0 points" in details
    assert "11.5 times random guessing’s 1 %" in details


def test_a_saving_within_its_spread_is_no_saving(write_results: Write) -> None:
    headline, details = said(write_results(*FULL, *model("obc", 2, 0.88, [0.04, 0.14, 0.06, 0.16])))
    assert "these data do not show that quantization protects" in headline
    assert "saving" not in details


def test_precisions_within_their_spread_are_named_beside_a_clear_one(write_results: Write) -> None:
    path = write_results(
        *FULL, *model("obc", 4, 0.90, [0.09, 0.13, 0.10, 0.14]), *model("obc", 2, 0.88, [0.06, 0.07, 0.08, 0.09])
    )
    assert "The change of leakage is within its spread for obc 4 bits." in said(path)[1]


def test_a_clear_rise_is_said(write_results: Write) -> None:
    assert (
        "clearly rises with obc 4 bits" in said(write_results(*FULL, *model("obc", 4, 0.9, [0.2, 0.21, 0.22, 0.23])))[1]
    )


def test_one_target_shows_nothing(write_results: Write) -> None:
    headline, _ = said(write_results(*model("none", 32, 0.9, [0.5]), *model("obc", 2, 0.9, [0.01])))
    assert "One target has no spread" in headline


def test_a_leak_like_random_guessing_is_called_that(write_results: Write) -> None:
    guessing = model("none", 32, 0.9, [0.008, 0.013, 0.009, 0.012])
    assert "not told apart from random guessing’s 1 % by 4 targets" in said(write_results(*guessing))[0]
