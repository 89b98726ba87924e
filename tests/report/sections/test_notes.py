from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lit_privq.artifacts.scores import AttackScores
from lit_privq.report.sections.notes import notes
from lit_privq.report.view import View

SCORES = AttackScores(np.arange(4), np.tile(np.arange(1200) % 2 == 0, (4, 1)), np.zeros((4, 1200)))


def test_an_empty_bound_is_explained_with_its_count(seen: View) -> None:
    text = " ".join(notes(seen, SCORES, 16)).replace("\xa0", " ")
    assert "A bound of 0.1 % would mean fewer than one false positive among 600: the value is left empty" in text
    assert "here it is 1 %" in text


def test_several_empty_bounds_share_a_sentence(seen: View, seen_with: Callable[..., View]) -> None:
    focus = seen.measures.focus
    few = " ".join(notes(seen_with(focus=replace(focus, empty=(1e-5, 1e-4, 1e-3))), SCORES, 16)).replace("\xa0", " ")
    assert "Bounds of 0.001 %, 0.01 % and 0.1 % would mean fewer than one false positive among 600: the values" in few
    paper = seen_with(focus=replace(focus, empty=(1e-5,), bound=0.001))
    text = " ".join(notes(paper, SCORES, 16)).replace("\xa0", " ")
    assert "A bound of 0.001 % would mean" in text
    assert "left empty, not 0. " in text
    assert "The page shows" not in text


def test_how_few_non_members_decide_is_said(seen: View) -> None:
    assert "600 non-members" in " ".join(notes(seen, SCORES, 16))
    assert "non-members:" not in " ".join(notes(seen, None, None))


def test_targets_and_shadows_are_counted(seen: View) -> None:
    assert notes(seen, None, 16)[0] == "4 target models and 16 shadow models."
    assert notes(seen, None, None)[0] == "4 target models."


def test_several_quantizers_are_not_to_be_compared_at_equal_bits_alone(seen: View) -> None:
    assert len(seen.results.methods) > 1
    assert any("may leak more at equal bits" in note for note in notes(seen, None, None))
