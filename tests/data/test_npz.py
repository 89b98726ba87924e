from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_privq.data.npz import Npz

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (10, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (10, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(10) % 3


def write(root: Path, **arrays: Any) -> None:
    np.savez(root / "mine.npz", **{"images": GREY, "labels": LABELS, **arrays})


@pytest.mark.parametrize(
    ("images", "expected"),
    [(GREY, GREY[:, None]), (COLOUR, COLOUR.transpose(0, 3, 1, 2)), (COLOUR.transpose(0, 3, 1, 2),) * 2],
)
def test_images_are_read_channels_first_however_they_lie(tmp_path: Path, images: Any, expected: Any) -> None:
    write(tmp_path, images=images, test_images=images[:2], test_labels=LABELS[:2])
    pool = Npz("mine.npz").load(tmp_path, False)
    assert np.array_equal(pool.inputs.numpy(), expected)
    assert pool.inputs.dtype == torch.uint8
    assert np.array_equal(pool.test_inputs.numpy(), expected[:2])
    assert (pool.name, pool.n_classes, len(pool.mean)) == ("mine", 3, expected.shape[1])


@pytest.mark.parametrize("labels", [LABELS.astype(np.uint8), LABELS[:, None], LABELS.astype(np.int32)])
def test_labels_of_any_integer_type_are_classes(tmp_path: Path, labels: Any) -> None:
    write(tmp_path, labels=labels)
    pool = Npz("mine.npz", test_share=0.3).load(tmp_path, False)
    assert sorted([*pool.labels.tolist(), *pool.test_labels.tolist()]) == sorted(LABELS.tolist())
    assert len(pool.test_labels) == 3


def test_the_arrays_may_have_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x_train=GREY, y_train=LABELS, x_test=GREY[:3], y_test=LABELS[:3])
    names = {"images": "x_train", "labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
    pool = Npz("mnist.npz", **names, pool_size=6, name="digits-of-mine").load(tmp_path, False)
    assert pool.labels.tolist() == LABELS[:6].tolist()
    assert len(pool.test_labels) == 3
    assert pool.name == "digits-of-mine"


def test_floats_are_features_and_values_make_a_regression(tmp_path: Path) -> None:
    features = RNG.normal(size=(10, 7))
    write(tmp_path, images=features, labels=np.linspace(0, 1, 10))
    pool = Npz("mine.npz").load(tmp_path, False)
    assert pool.inputs.dtype == pool.labels.dtype == torch.float32
    assert (pool.n_classes, pool.mean) == (0, ())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY.astype(np.int64)}, r"inputs must be uint8 images, .* those of mine are \(10, 5, 4\) int64"),
        ({"images": RNG.integers(0, 9, (10, 5, 4, 2), dtype=np.uint8)}, "grey or of three channels"),
        ({"images": GREY[:, 0, 0]}, "inputs must be uint8 images"),
        ({"labels": LABELS + 1}, "classes are counted from 0; the smallest label of mine is 1: subtract it"),
        ({"labels": np.eye(3)[LABELS]}, r"labels must be one number for each example; .* one-hot rows take the argmax"),
        ({"labels": LABELS[:9]}, r"mine\.npz must hold one label for each example; images has 10 and labels has 9"),
        ({"labels": np.array(["a"] * 10)}, "labels must be one number for each example"),
        ({"labels": np.array([None] * 10)}, r"labels in .*mine\.npz is damaged or no array of numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    write(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message):
        Npz("mine.npz").load(tmp_path, False)


def test_a_missing_or_damaged_file_and_a_missing_array_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mine\.npz is missing; .* LIT_PRIVQ_DATA"):
        Npz("mine.npz").load(tmp_path, False)
    write(tmp_path)
    with pytest.raises(ValueError, match="has no array 'x_train'; it has images, labels"):
        Npz("mine.npz", images="x_train").load(tmp_path, False)
    (tmp_path / "mine.npz").write_bytes((tmp_path / "mine.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"mine\.npz is damaged or no \.npz file"):
        Npz("mine.npz").load(tmp_path, False)
