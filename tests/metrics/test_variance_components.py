from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.metrics import variance_components


def simulated(shape: tuple[int, int, int], deviations: tuple[float, float, float], seed: int) -> NDArray[np.float64]:
    """Runs whose components are known, (targets, draws, seeds)."""
    random, (targets, draws, _) = np.random.default_rng(seed), shape
    training, calibration, own = deviations
    effects = random.normal(0, training, (targets, 1, 1)) + random.normal(0, calibration, (targets, draws, 1))
    return 0.9 + effects + random.normal(0, own, shape)


@pytest.mark.parametrize("deviations", [(3.0, 2.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)])
@pytest.mark.parametrize("shape", [(8, 3, 2), (32, 2, 2)])
def test_known_components_are_recovered_on_average(
    shape: tuple[int, int, int], deviations: tuple[float, float, float]
) -> None:
    found = [variance_components(simulated(shape, deviations, seed)) for seed in range(300)]
    means = [np.mean([getattr(one, name).value for one in found]) for name in ("training", "calibration", "seed")]
    expected = np.square(deviations)
    assert means == pytest.approx(expected, rel=0.12, abs=0.35)  # what is 0 cannot come out below it


@pytest.mark.parametrize("deviations", [(3.0, 2.0, 1.0), (0.5, 0.5, 1.0), (0.0, 1.0, 1.0)])
def test_intervals_cover_known_components_19_times_in_20(deviations: tuple[float, float, float]) -> None:
    hits = np.zeros(3)
    for seed in range(500):
        found = variance_components(simulated((8, 3, 2), deviations, seed))
        for place, one in enumerate((found.training, found.calibration, found.seed)):
            hits[place] += one.low <= deviations[place] ** 2 <= one.high
    assert (hits / 500 > 0.93 - 0.01).all(), hits / 500  # standard error 0.01
    assert hits[2] / 500 < 0.98


def test_components_are_the_mean_squares_of_a_nested_analysis_of_variance() -> None:
    values = simulated((5, 3, 2), (1.0, 1.0, 1.0), 0)
    seed = np.mean([draw.var(ddof=1) for target in values for draw in target])
    calibration = np.mean([target.mean(axis=1).var(ddof=1) for target in values]) - seed / 2
    training = values.mean(axis=(1, 2)).var(ddof=1) - np.mean([t.mean(axis=1).var(ddof=1) for t in values]) / 3
    found = variance_components(values)
    expected = [max(0.0, each) for each in (training, calibration, seed)]
    assert [found.training.value, found.calibration.value, found.seed.value] == pytest.approx(expected)


def test_with_one_draw_the_calibration_is_unknown_and_with_one_target_the_training() -> None:
    one_draw = variance_components(simulated((8, 1, 2), (1.0, 0.0, 1.0), 0))
    assert np.isnan(one_draw.calibration.value)
    assert one_draw.training.value > 0
    one_target = variance_components(simulated((1, 4, 2), (1.0, 1.0, 1.0), 0))
    assert np.isnan(one_target.training.value)
    assert one_target.calibration.value > 0


def test_equal_runs_have_no_variance() -> None:
    found = variance_components(np.full((4, 2, 2), 0.9))
    assert found.training.value == found.calibration.value == found.seed.value == 0


@pytest.mark.parametrize("values", [np.zeros((3, 2)), np.full((2, 2, 2), np.nan)])
def test_another_shape_or_what_is_not_finite_is_refused(values: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"\(targets, draws, seeds\)"):
        variance_components(values)
