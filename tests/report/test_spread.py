from math import isnan

import numpy as np
import pytest

from lit_privq.report.spread import Spread, paired, spread


def test_deviation_is_the_sample_deviation() -> None:
    found = spread({10: 0.1, 11: 0.2, 12: 0.6})
    assert found.mean == pytest.approx(0.3)
    assert found.deviation == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))


def test_one_target_has_no_spread_and_nothing_to_say() -> None:
    found = spread({10: 0.5})
    assert isnan(found.deviation)
    assert not found.clear


def test_no_target_has_no_mean() -> None:
    assert isnan(spread({}).mean)


def test_a_shift_common_to_all_targets_is_clear_however_far_they_lie_apart() -> None:
    before = {target: float(target) for target in range(5)}
    after = {target: value - 0.01 for target, value in before.items()}
    assert paired(after, before).clear
    assert not Spread(-0.01, spread(after).deviation, 5).clear


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10])
def test_pure_noise_is_rarely_called_a_difference(count: int) -> None:
    draws = np.random.default_rng(0).normal(size=(4000, count))
    clear = [spread(dict(enumerate(row.tolist()))).clear for row in draws]
    assert np.mean(clear) < 0.06  # 5 % by construction, and two standard errors of 4000 draws
