import pytest

from lit_privq.indicator.reach import CENSORED, INTERPOLATING, SATURATED, SMALL, cautions, drifting


def test_a_healthy_estimate_raises_no_caution() -> None:
    assert cautions(n_times_r=3.0, saturation=0.5, train_score=0.8) == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"n_times_r": 0.4}, SMALL),
        ({"saturation": 1.0}, SATURATED),
        ({"train_score": 1.0}, INTERPOLATING),
        ({"censored": 0.8}, CENSORED),
    ],
)
def test_each_limit_is_named_alone(values: dict[str, float], reason: str) -> None:
    assert cautions(**({"n_times_r": 3.0, "saturation": 0.5, "train_score": 0.8} | values)) == (reason,)


def test_drift_is_full_precision_in_the_more_private_half() -> None:
    ranked = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0}
    assert not drifting(ranked | {"full": 2.5}, "full")
    assert drifting(ranked | {"full": 4.5}, "full")
