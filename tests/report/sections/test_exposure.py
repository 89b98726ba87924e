import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.artifacts.scores import AttackScores
from lit_privq.artifacts.variant import Variant
from lit_privq.report.sections.exposure import Exposure, exposure, rates

FULL, LOW = Variant("none", 32, 32), Variant("obc", 2, 2)


def made(signal: NDArray[np.float64], members: NDArray[np.bool_], seed: int) -> AttackScores:
    scores = np.random.default_rng(seed).normal(size=members.shape) + members * signal
    return AttackScores(np.arange(len(members)) + 16, members, scores)


@pytest.fixture
def members() -> NDArray[np.bool_]:
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(np.arange(400) % 2 == 0) for _ in range(6)])


def shown(full: AttackScores, low: AttackScores) -> Exposure:
    found = exposure({FULL: full, LOW: low}, FULL, bound=0.05)
    assert found is not None
    return found


def test_the_exposed_examples_are_found_and_their_fate_is_told(members: NDArray[np.bool_]) -> None:
    signal = np.where(np.arange(400) < 40, 8.0, 0.0)
    found = shown(made(signal, members, 1), made(0 * signal, members, 2))
    assert set(found.examples) <= set(range(40))
    assert found.caught[FULL] == 1
    assert found.caught[LOW] < 0.2
    assert (found.rates[FULL] < 0.01).all()
    assert found.chosen_on == (16, 17, 18)
    assert found.shown_on == (19, 20, 21)


def test_chance_in_the_choice_is_not_shown_as_exposure(members: NDArray[np.bool_]) -> None:
    found = shown(made(np.zeros(400), members, 1), made(np.zeros(400), members, 2))
    assert found.caught[FULL] == pytest.approx(0.05, abs=0.08)  # three standard errors of about 30 pairs


def test_one_target_leaves_nobody_to_show_it_on(members: NDArray[np.bool_]) -> None:
    alone = made(np.zeros(400), members[:1], 1)
    assert exposure({FULL: alone}, FULL, bound=0.05) is None


def test_scores_of_other_targets_are_not_compared(members: NDArray[np.bool_]) -> None:
    found = shown(made(np.ones(400), members, 1), made(np.ones(400), ~members, 2))
    assert list(found.rates) == [FULL]


def test_rates_count_the_non_members_that_score_as_high() -> None:
    scores, members = np.array([[5.0, 3.0, 3.0, 1.0]]), np.array([[True, False, True, False]])
    np.testing.assert_allclose(rates(AttackScores(np.array([9]), members, scores)), [[1 / 3, 2 / 3, 2 / 3, 3 / 3]])
