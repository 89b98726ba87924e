import pytest

from lit_privq.indicator.reach import cautions


def test_a_healthy_estimate_raises_no_caution() -> None:
    assert cautions(n_times_r=3.0, saturation=0.5, train_score=0.8) == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n_times_r": 0.4}, "n r = 0.4 is below 1"),
        ({"saturation": 1.0}, "100% of the snapshots"),
        ({"train_score": 1.0}, "fitted to 100.0%"),
        ({"censored": 0.8}, "80% of the runs"),
    ],
)
def test_each_limit_is_named(values: dict[str, float], words: str) -> None:
    (reason,) = cautions(**({"n_times_r": 3.0, "saturation": 0.5, "train_score": 0.8} | values))
    assert words in reason
