from __future__ import annotations

import pytest

from lit_privq.attacks import (
    Attack,
    LiRAOnline,
    PerExample,
    Pooled,
    Residual,
    RMIAOnline,
    Threshold,
    paired,
    reference,
    standard,
)


def test_the_paper_s_pair_comes_first() -> None:
    assert list(standard())[:2] == ["lira_online_fixed", "lira_offline_fixed"]


def test_attacks_of_one_preset_have_different_titles() -> None:
    for preset in (standard(), reference(), paired()):
        titles = [attack.title for attack in preset.values()]
        assert len(set(titles)) == len(titles)


def test_the_paper_s_fixed_variance_is_the_capped_residual_one_and_the_reference_s_is_not_capped() -> None:
    fixed, pooled = standard()["lira_online_fixed"], reference()["lira_online_fixed"]
    assert fixed == LiRAOnline("median", Residual(25.0))
    assert pooled == LiRAOnline("median", Pooled())


@pytest.mark.parametrize(
    ("attack", "title"),
    [
        (LiRAOnline(), "LiRA online, fixed variance"),
        (LiRAOnline("mean", PerExample()), "LiRA online, mean centre"),
        (RMIAOnline(), "RMIA online"),
        (RMIAOnline(gamma=2.0, temperature=1.0), "RMIA online, gamma 2, temperature 1"),
        (Threshold(), "Global threshold"),
    ],
)
def test_a_title_says_the_options_that_are_not_the_usual_ones(attack: Attack, title: str) -> None:
    assert attack.title == title
