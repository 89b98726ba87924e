from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_privq.data.pool import Pool, check_pool_size, set_aside, some_of
from lit_privq.data.task import Classification, Regression

MEAN, STD = (0.2, 0.5, 0.7), (0.3, 0.2, 0.1)


def colours(n: int, size: int = 5) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def pool(**changes: Tensor) -> Pool:
    given = Pool("colours", colours(4), torch.arange(4), colours(3), torch.arange(3), 4, MEAN, STD)
    return replace(given, **changes)  # type: ignore[arg-type]  # mypy holds every field against Tensor


def test_the_fingerprint_sees_every_part_of_the_data() -> None:
    inputs = pool().inputs.clone()
    inputs[3, 2, 4, 4] += 1
    others = [pool(inputs=inputs), pool(labels=torch.tensor([0, 1, 3, 2])), pool(test_inputs=colours(3).flip(0)),
              pool(test_labels=torch.tensor([0, 2, 1])),
              replace(pool(), inputs=colours(4).float(), test_inputs=colours(3).float(), mean=(), std=())]  # fmt: skip
    assert pool().fingerprint() == pool().fingerprint()
    assert len({pool().fingerprint(), *(other.fingerprint() for other in others)}) == 6


def values(labels: list[float], tests: list[float]) -> Pool:
    return Pool("values", torch.zeros(3, 2), torch.tensor(labels), torch.zeros(2, 2), torch.tensor(tests), n_classes=0)


def test_labels_tell_what_models_are_for() -> None:
    assert pool().task == Classification(4)
    assert values([1.0, 2.0, 3.0], [0.0, 4.0]).task == Regression(variance=4.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_counted_and_the_first_is_named(bad: float) -> None:
    with pytest.raises(
        ValueError, match=r"^labels must be finite; 2 of 3 of values are NaN or infinite, the first is example 1;"
    ):
        values([1.0, bad, bad], [0.0, 4.0])
    with pytest.raises(ValueError, match=r"^test_labels must be finite; 1 of 2"):
        values([1.0, 2.0, 3.0], [bad, 4.0])


def test_values_are_not_taken_for_classes_nor_classes_for_values() -> None:
    with pytest.raises(ValueError, match=r"labels of 4 classes must be integers; those of colours are torch.float32"):
        pool(labels=torch.zeros(4))
    with pytest.raises(ValueError, match=r"labels of a regression must be float32; those of colours are torch.int64"):
        replace(pool(), n_classes=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": colours(4).float() / 255}, "mean and std are for uint8 images, .*; inputs of colours are float32"),
        ({"mean": (), "std": ()}, r"uint8 inputs are images .* with a mean and a positive std for each channel"),
        ({"mean": (0.5,), "std": (0.5,)}, r"uint8 inputs .* those of colours are \(4, 3, 5, 5\) with mean \(0.5,\)"),
        ({"std": (0.3, 0.0, 0.1)}, "a positive std for each channel"),
        ({"inputs": colours(4)[:, 0]}, r"uint8 inputs are images \(examples, channels, height, width\)"),
        ({"inputs": colours(4).double()}, r"inputs must be uint8 images or float32 features; .* torch.float64"),
        ({"inputs": colours(4).numpy()}, "inputs must be a torch.Tensor; those of colours are ndarray"),
        ({"labels": np.arange(4)}, "labels must be a torch.Tensor; those of colours are ndarray"),
        ({"test_inputs": [1, 2]}, "test_inputs must be a torch.Tensor; those of colours are list"),
        ({"labels": torch.arange(4).int()}, r"labels must be int64; those of colours are torch.int32: .* \.long\(\)"),
        ({"labels": torch.arange(1, 5)}, "must lie in 0 to 3, .* first is example 3 with 4: count classes"),
        ({"test_labels": torch.tensor([0, -1, 2])}, "test_labels must lie in 0 to 3, .* example 1 with -1"),
        ({"labels": torch.arange(3)}, r"one label for each .* inputs \(4, 3, 5, 5\) and labels \(3,\)"),
        ({"labels": torch.zeros(4, 10, dtype=torch.int64)}, "labels must hold one label for each"),
        ({"test_inputs": colours(3)[:0], "test_labels": torch.arange(0)}, "test_labels .* at least one example"),
        ({"test_inputs": colours(3, size=7)}, r"inputs and test_inputs must be alike; .*\(3, 5, 5\).*\(3, 7, 7\)"),
    ],
)  # fmt: skip
def test_what_would_train_on_garbage_is_refused_when_the_pool_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(pool(), **changes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(bad: float) -> None:
    given = values([1.0, 2.0, 3.0], [0.0, 4.0])
    with pytest.raises(ValueError, match="inputs must be finite; some of values are NaN or infinite"):
        replace(given, inputs=torch.full((3, 2), bad))


def test_features_of_half_precision_are_refused_and_not_normalised() -> None:
    with pytest.raises(ValueError, match="must be uint8 images or float32 features"):
        replace(values([1.0, 2.0, 3.0], [0.0, 4.0]), inputs=torch.zeros(3, 2, dtype=torch.float16))


@pytest.mark.parametrize(("n", "share", "pool_size"), [(10, 0.2, None), (11, 0.3, 4), (3, 0.5, None)])
def test_examples_are_set_aside_once_each_and_the_same_every_time(n: int, share: float, pool_size: int | None) -> None:
    rows, tests = set_aside(n, share, seed=1, pool_size=pool_size)
    assert len(tests) == round(share * n)
    assert len(rows) == (pool_size or n - len(tests))
    assert len({*rows.tolist(), *tests.tolist()}) == len(rows) + len(tests)
    assert np.array_equal(set_aside(n, share, seed=1)[1], tests), "a smaller pool has the same test set"


@pytest.mark.parametrize(("n", "share"), [(10, 0.0), (10, 1.0), (2, 0.1), (10, -0.2), (10, 1.5)])
def test_a_share_that_leaves_one_side_empty_is_refused(n: int, share: float) -> None:
    with pytest.raises(ValueError, match=r"test_share must be a fraction .* leaves examples on both sides"):
        set_aside(n, share, seed=0)


def test_some_examples_of_a_sorted_set_come_from_all_over_it_in_order() -> None:
    kept = some_of(1000, 100)
    assert np.array_equal(kept, np.unique(kept))
    assert kept[49] < 650
    assert kept[50] > 350
    assert np.array_equal(some_of(5, None), np.arange(5))


@pytest.mark.parametrize("size", [-1, 0, 1, 11])
def test_a_pool_size_beyond_the_set_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"pool_size must lie between 2 and 10; got {size}"):
        check_pool_size(size, 10)


def test_r_squared_needs_different_values() -> None:
    with pytest.raises(
        ValueError, match="R squared needs different values in the test set; all of values are the same"
    ):
        _ = values([1.0, 2.0, 3.0], [5.0, 5.0]).task
