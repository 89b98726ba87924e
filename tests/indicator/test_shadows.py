from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lit_privq.indicator.runs import write_runs
from lit_privq.indicator.shadows import ShadowRuns, joined, read_shadows


def one(model: int, codes: list[int], n: int = 600) -> ShadowRuns:
    shape = (4, 1, 3)  # quantizers, models, snapshots
    return ShadowRuns(
        quantizers=("sign", "ternary-90", "absmean", "full"),
        best=np.zeros((4, 1), dtype=np.int64),
        gap_mean=np.full(shape, 0.1 * (1 + model)),
        gap_variance=np.ones(shape),
        gap_reach=np.ones(shape),
        distinct=np.full((4, 1), 3),
        performance=np.array([[0.5], [0.2], [0.8], [0.9]]),
        train_score=np.array([0.9]),
        meta={"n": n, "data": "tiny", "every": 1},
        models=np.array([model]),
        bits=np.array([1, 1.58, 1.58, 32]),
        codes=np.array([codes] * 3)[:, None],
    )


def test_models_are_read_in_order_and_put_side_by_side(tmp_path: Path) -> None:
    for model, codes, n in ((1, [0, 1], 601), (0, [0, 0], 600)):
        write_runs(tmp_path / f"{model:03d}.npz", one(model, codes, n))
    found = read_shadows(tmp_path)
    assert found is not None
    assert found.models.tolist() == [0, 1]
    assert (found.n, found.snapshots) == (600, 3)
    assert found.quantizers == ("sign", "ternary-90", "absmean", "full")
    assert found.r.shape == (4, 2)
    np.testing.assert_allclose(found.r[0], [0.01 / 2, 0.04 / 2])


def test_two_models_agree_on_half_of_their_codes_and_on_no_float() -> None:
    found = joined([one(0, [0, 0]), one(1, [0, 1])])
    assert found.agreement.tolist() == [0.5, 0.5, 0.5, 0.0]
    assert np.isnan(one(0, [0, 0]).agreement).all()


@pytest.mark.parametrize(
    ("method", "bits", "row"),
    [("ternary_90", 1.58, 1), ("nearest", 1.58, 2), ("bwn", 1, 0), ("none", 32, 3), ("nearest", 4, None)],
)
def test_a_method_is_compared_with_its_own_quantizer_or_the_most_accurate(
    method: str, bits: float, row: int | None
) -> None:
    assert one(0, [0]).counterpart(method, bits) == row


def test_no_folder_or_an_empty_one_is_no_indicator(tmp_path: Path) -> None:
    assert read_shadows(tmp_path) is None
    assert read_shadows(tmp_path / "nowhere") is None


def test_models_measured_in_different_ways_are_refused(tmp_path: Path) -> None:
    write_runs(tmp_path / "000.npz", one(0, [0, 1]))
    write_runs(tmp_path / "001.npz", replace(one(1, [0, 1, 1]), meta={"n": 600, "data": "tiny", "every": 5}))
    with pytest.raises(ValueError, match="differ in every, codes; delete the older"):
        read_shadows(tmp_path)


def test_a_damaged_file_is_one_clear_sentence(tmp_path: Path) -> None:
    write_runs(tmp_path / "000.npz", one(0, [0, 1]))
    content = (tmp_path / "000.npz").read_bytes()
    (tmp_path / "000.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"000\.npz is no stored indicator, or is damaged"):
        read_shadows(tmp_path)
