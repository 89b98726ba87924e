from collections.abc import Callable
from dataclasses import replace

from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.report.view import View

CELL = {"attacker": "unaware", "attack": "threshold", "metric": "tpr_at_0.01"}


def test_a_mean_over_targets_has_the_interval_for_other_targets(write_view: Callable[..., View]) -> None:
    view = write_view(*(CELL | {"target": target, "value": 0.1 + 0.01 * target} for target in range(4)))
    rate = view.rate(view.focus.key(FULL_PRECISION))
    assert rate is not None
    assert rate.low < 0.115 < rate.high
    assert view.scope == "for other targets"


def test_one_target_has_its_own_interval_or_none(write_view: Callable[..., View]) -> None:
    view = write_view(CELL | {"value": 0.1})
    rate = view.rate(view.focus.key(FULL_PRECISION))
    assert rate is not None
    assert rate.value == 0.1
    assert view.scope == "of this target’s examples"


def test_variants_that_only_guess_are_those_the_audit_named(seen: View) -> None:
    assert seen.guessing == ()
    focus = replace(seen.focus, guessing=("nearest-2", "gone-1"))
    named = replace(seen, measures=replace(seen.measures, focus=focus))
    assert named.guessing == (Variant("nearest", 2, 2),)
