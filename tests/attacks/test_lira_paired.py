from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lit_privq.attacks import (
    Observed,
    Paired,
    score_leave_one_out,
)

Make = Callable[..., Observed]


def test_a_parent_that_repeats_the_child_adds_nothing_infinite(make: Make) -> None:
    models = make(8, 30, 1)
    assert np.isfinite(score_leave_one_out({"a": Paired()}, models, parents=(models, None))["a"]).all()


def test_the_paired_attack_refuses_to_run_without_parents(make: Make) -> None:
    with pytest.raises(ValueError, match="needs the parents"):
        score_leave_one_out({"a": Paired()}, make())
