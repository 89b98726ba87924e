from __future__ import annotations

import re
from collections.abc import Callable
from math import nan
from pathlib import Path

from lit_privq.artifacts.measures import PrivacyBounds, TargetMean
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.headline import headline, leak
from lit_privq.report.inputs import read_inputs
from lit_privq.report.view import View

Rows = list[dict[str, object]]
Write = Callable[..., View]


def model(method: str, bits: float, accuracy: float, leaks: list[float]) -> Rows:
    head = {"method": method, "bits": bits, "last_bits": bits}
    attack = {"attacker": "unaware", "attack": "lira_online_fixed", "metric": "tpr_at_0.01"}
    rows: Rows = []
    for target, value in enumerate(leaks):
        rows.append(head | {"target": target, "metric": "accuracy", "value": accuracy + 1e-4 * target})
        rows.append(head | attack | {"target": target, "value": value})
    return rows


def said(view: View) -> tuple[str, str]:
    found = headline(view)
    return found.sentence.replace("\xa0", " "), " ".join(found.details).replace("\xa0", " ")


FULL = model("none", 32, 0.90, [0.10, 0.11, 0.12, 0.13])


def test_the_least_costly_saving_is_the_headline(write_view: Write) -> None:
    sentence, details = said(
        write_view(
            *FULL,
            *model("obc", 2, 0.88, [0.06, 0.071, 0.08, 0.09]),
            *model("obc", 1.58, 0.50, [0.01, 0.022, 0.03, 0.04]),
        )
    )
    assert sentence == (
        "The least costly saving is obc 2 bits: it brings the TPR at 1 % FPR from 11.5 % to 7.5 % and costs 2.0 points "
        "of accuracy."
    )
    assert "The largest saving is obc 1.58 bits" in details
    assert "costs 40.0 points" in details
    assert "11.5 times random guessing (1 %)" in details
    assert "for other targets), 11.5 times" in details


def test_a_saving_that_is_not_shown_is_no_saving(write_view: Write) -> None:
    sentence, details = said(write_view(*FULL, *model("obc", 2, 0.88, [0.04, 0.14, 0.06, 0.16])))
    assert sentence == (
        "At full precision the TPR at 1 % FPR is 11.5 %; with obc 2 bits, the lowest precision of use, 10.0 %. "
        "With 4 targets no saving is clear."
    )
    assert "no difference shown for other targets" in details
    assert "saving" not in details


def test_a_saving_that_the_correction_takes_away_is_suggested_and_not_shown(write_view: Write) -> None:
    others = [row for bits in (3, 4, 5) for row in model("obc", bits, 0.9, [0.13, 0.10, 0.14, 0.11])]
    sentence, details = said(write_view(*FULL, *model("obc", 2, 0.88, [0.075, 0.102, 0.102, 0.118]), *others))
    assert sentence.endswith("With 4 targets no saving is clear.")
    assert (
        "with all 4 tests counted (Holm’s correction), none lowers leakage and none raises it; obc 2 bits would differ "
        "taken alone." in details
    )


def test_a_saving_of_a_model_that_only_guesses_is_none_worth_having(write_view: Write) -> None:
    sentence, details = said(write_view(*FULL, *model("obc", 2, 0.1, [0.06, 0.071, 0.08, 0.09])))
    assert sentence == "At full precision the TPR at 1 % FPR is 11.5 %. With 4 targets no saving is clear."
    assert "obc 2 bits lowers leakage by 4.0 points" in details


def test_a_rise_is_said(write_view: Write) -> None:
    sentence, details = said(write_view(*FULL, *model("obc", 4, 0.9, [0.2, 0.21, 0.222, 0.23])))
    assert "no saving is clear" in sentence
    assert "obc 4 bits raises leakage by 10.1 points" in details


def test_one_target_says_nothing_of_others(write_view: Write) -> None:
    sentence, details = said(write_view(*model("none", 32, 0.9, [0.5]), *model("obc", 2, 0.9, [0.01])))
    assert sentence == (
        "At full precision the TPR at 1 % FPR is 50.0 %; with obc 2 bits, the lowest precision of use, 1.0 %. "
        "One target says nothing of other targets."
    )
    assert "other targets)" not in details
    assert "in this target" in details


def test_one_target_has_the_interval_of_its_own_examples(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up({"none-32": [0.5], "obc-2": [0.1], "obc-4": [0.499]}, noise=0.01))
    sentence, details = said(view)
    assert sentence.endswith("One target says nothing of other targets.")
    assert "In this target leakage is lower with obc 2 bits, by the target’s own interval." in details
    assert re.search(r"50\.0 % \(lira online fixed; 4[78]\.\d to 5[12]\.\d % of this target’s examples\)", details)
    assert "in this target 50.0 times random guessing (1 %)" in details
    assert re.search(r"obc 2 bits lowers leakage by 40\.0 points \(.*\) in this target; others are another", details)
    assert re.search(
        r"obc 4 bits changes leakage by −0\.1 points \(.*\) in this target: no difference shown\.", details
    )


def test_a_leak_like_random_guessing_is_called_that(write_view: Write) -> None:
    guessing = model("none", 32, 0.9, [0.008, 0.013, 0.009, 0.012])
    assert "not told apart from random guessing (1 %) for other targets." in said(write_view(*guessing))[0]


def test_a_leak_that_a_rate_leaves_open_is_told_by_the_auc_and_by_these_targets(seen_with: Callable[..., View]) -> None:
    open_rate = TargetMean(0.05, 0.0, 0.3, 0.01, "unclear", 4, 1, "higher")
    area = TargetMean(0.7, 0.66, 0.74, 0.5, "higher", 4, 4, "higher")
    key = Key(Variant("none", 32, 32), "tpr_at_0.01", "unaware", "lira_online_fixed")
    parts: dict[str, dict[Key, object]] = {"means": {key: open_rate}, "bounds": {}}
    told = [said_of(seen_with(**parts))]
    parts["means"][key._replace(metric="auc")] = area
    told.append(said_of(seen_with(**parts)))
    bounds = PrivacyBounds((16, 17, 18, 19), 0.0, (0.6, 0.7, 0.8, 0.9), 4, (nan,) * 4, (0.0,) * 4)
    parts["bounds"] = {key._replace(metric="epsilon"): bounds}
    told.append(said_of(seen_with(**parts)))
    unclear = "not told apart from random guessing (1 %) for other targets"
    together = "these 4 targets, taken together, are above it by the interval of their examples"
    assert told[0].endswith(f"{unclear}; {together}.")
    by_area = "but its AUC is above random guessing: 0.70 (0.66 to 0.74 for other targets)"
    assert told[1].endswith(f"{unclear}; {by_area}; {together}.")
    each = "in each of these 4 targets more than random guessing, as ε is at least 0.60"
    assert told[2].endswith(f"{unclear}; {by_area}; {each}.")


def said_of(view: View) -> str:
    """What is said of full precision's leak."""
    return leak(view, Variant("none", 32, 32)).replace("\xa0", " ")


def test_a_leak_below_random_guessing_is_called_that(write_view: Write) -> None:
    assert "below random guessing (1 %)." in said(write_view(*model("none", 32, 0.9, [0.0, 0.001, 0.0, 0.001])))[0]


LEAKS = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-2": [0.06, 0.071, 0.08, 0.09]}
CANARIES = {"none-32": [1.0, 1.0, 0.99, 1.0], "obc-2": [0.98, 0.97, 0.99, 1.0]}
RARE = {"none-32": [0.5, 0.6, 0.5, 0.6], "obc-2": [0.2, 0.3, 0.2, 0.3]}


def test_a_saving_is_said_together_with_the_worst_case(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up(LEAKS, slices={"most_vulnerable": RARE, "canaries": CANARIES}))
    sentence, _ = said(view)
    assert sentence.startswith("The largest saving is obc 2 bits: it brings the TPR at 1 % FPR from 11.5 % to 7.5 %")
    assert sentence.endswith("; the AUC among the canaries, the worst case, goes from 0.998 to 0.985.")


def test_a_worst_case_that_stays_is_said_to_stay(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up(LEAKS, slices={"canaries": {name: [1.0] * 4 for name in LEAKS}}, noise=0))
    assert said(view)[0].endswith("; the AUC among the canaries, the worst case, stays at 1.000.")


def test_without_canaries_the_worst_case_is_that_of_the_most_vulnerable(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up(LEAKS, slices={"class_0": CANARIES, "most_vulnerable": RARE}))
    assert said(view)[0].endswith("; the AUC among the most vulnerable, the worst case, goes from 0.550 to 0.250.")


def test_without_a_worst_case_nothing_is_said_of_one(made_up: Callable[..., Path]) -> None:
    view, _ = read_inputs(made_up(LEAKS, slices={"class_0": CANARIES}))
    assert "worst case" not in "".join(said(view))


UNCLEAR = {"none-32": [0.10, 0.11, 0.12, 0.13], "obc-4": [0.10, 0.12, 0.11, 0.13], "obc-2": [0.04, 0.14, 0.06, 0.16]}


def test_without_a_saving_both_ends_are_said_on_average_and_in_the_worst_case(made_up: Callable[..., Path]) -> None:
    canaries = UNCLEAR | {"none-32": [0.99, 0.98, 0.97, 0.98], "obc-2": [0.9, 0.6, 0.9, 0.6]}
    sentence, details = said(read_inputs(made_up(UNCLEAR, slices={"canaries": canaries}))[0])
    assert sentence == (
        "At full precision the TPR at 1 % FPR is 11.5 % and the AUC among the canaries, the worst case, 0.980; with "
        "obc 2 bits, the lowest precision of use, 10.0 % and 0.750. With 4 targets no saving is clear on average; the "
        "AUC among the canaries is clearly lower with obc 4 bits."
    )
    assert "no saving" not in details


def test_the_lowest_precision_of_use_is_none_that_only_guesses(made_up: Callable[..., Path]) -> None:
    useful = {"none-32": [0.9] * 4, "obc-4": [0.89, 0.9, 0.88, 0.9], "obc-2": [0.1] * 4}
    view = read_inputs(made_up(UNCLEAR, useful))[0]
    assert view.focus.guessing == ("obc-2",)
    assert "with obc 4 bits, the lowest precision of use" in said(view)[0]


def test_of_several_methods_at_the_lowest_bits_the_most_accurate_is_meant(made_up: Callable[..., Path]) -> None:
    leaks = {"none-32": UNCLEAR["none-32"], "obc-2": UNCLEAR["obc-2"], "brecq-2": UNCLEAR["obc-2"]}
    useful = {"none-32": [0.9] * 4, "obc-2": [0.7, 0.71, 0.7, 0.7], "brecq-2": [0.8, 0.81, 0.8, 0.8]}
    assert "with brecq 2 bits, the lowest precision of use" in said(read_inputs(made_up(leaks, useful))[0])[0]


def test_models_that_only_guess_are_not_counted_among_those_that_leak_less(made_up: Callable[..., Path]) -> None:
    full = [0.10, 0.11, 0.12, 0.13]
    lower = [0.05, 0.061, 0.07, 0.08]
    leaks = {"none-32": full, "obc-8": full, "obc-4": lower, "obc-2": lower, "obc-1": lower}
    useful = {name: [0.9, 0.901, 0.9, 0.9] if name != "obc-1" else [0.1] * 4 for name in leaks}
    details = said(read_inputs(made_up(leaks, useful))[0])[1]
    assert "obc 4 bits and obc 2 bits lower leakage and none raises it" in details
