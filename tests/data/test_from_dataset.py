from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from lit_privq.artifacts.confidences import read_dump
from lit_privq.data.from_dataset import FromDataset

MINE = """
import torch
from PIL import Image
class Squares(torch.utils.data.Dataset):
    def __init__(self, root, n=60, shade=0):
        self.root, self.n, self.shade = root, n, shade
    def __len__(self):
        return self.n
    def __getitem__(self, k):
        if k >= self.n: raise IndexError
        return Image.new("L", (8, 8), self.shade + 20 * (k % 10)), k % 10
"""


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "squares_of_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return "squares_of_mine.Squares"


def test_torchvisions_data_sets_are_read_by_class_path() -> None:
    fake = {"class_path": "torchvision.datasets.FakeData",
            "init_args": {"size": 12, "image_size": [3, 8, 8], "num_classes": 2}}  # fmt: skip
    pool = FromDataset(fake, test_share=0.25).load(Path(), False)
    assert pool.inputs.shape == (9, 3, 8, 8)
    assert pool.test_inputs.shape == (3, 3, 8, 8)
    assert pool.inputs.dtype == torch.uint8
    assert (pool.name, pool.n_classes) == ("fakedata", 2)


def test_a_data_set_of_ones_own_gets_the_root_and_its_arguments(squares: str, tmp_path: Path) -> None:
    test = {"class_path": squares, "init_args": {"n": 10, "shade": 5}}
    pool = FromDataset({"class_path": squares}, test, grey=True, pool_size=30).load(tmp_path, False)
    assert pool.inputs.shape == (30, 1, 8, 8)
    assert torch.equal(pool.inputs[:, 0, 0, 0], (20 * pool.labels).byte())
    assert pool.test_inputs[:, 0, 3, 3].tolist() == list(range(5, 200, 20))
    assert pool.test_labels.tolist() == list(range(10))


def test_a_data_set_may_be_given_itself() -> None:
    features, labels = torch.randn(10, 3), torch.arange(10) % 2
    pool = FromDataset(TensorDataset(features, labels), test_share=0.5, name="mine").load(Path(), False)  # type: ignore[arg-type]
    assert pool.inputs.dtype == torch.float32
    assert sorted(pool.inputs[:, 0].tolist() + pool.test_inputs[:, 0].tolist()) == sorted(features[:, 0].tolist())


class Items(list[Any]):
    """A data set in a list."""


GREY = Image.new("L", (4, 4))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(np.zeros((3, 4, 4), np.float32), 0)] * 4, "leave out the transform that makes them floats"),
        (
            [(GREY, 0), (Image.new("L", (5, 4)), 1)] * 8,
            r"must have one shape; there are .* set size, such as \[32, 32\]",
        ),
        ([GREY] * 4, r"items of items must be \(image or features, label\); got Image"),
        ([(GREY, [0, 1])] * 4, "labels must be one number for each example"),
        ([(GREY, 1)] * 4, "classes are counted from 0"),
    ],
)
def test_items_that_are_no_examples_are_refused(items: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FromDataset(Items(items), test_share=0.5, grey=True).load(Path(), False)  # type: ignore[arg-type]


def test_what_is_no_map_style_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch\.nn\.ReLU gives ReLU"):
        FromDataset({"class_path": "torch.nn.ReLU"}).load(Path(), False)
    with pytest.raises(ValueError, match="named by class_path and init_args"):
        FromDataset({"name": "x"}).load(Path(), False)


def test_an_own_data_set_is_trained_on_and_queried(privq: Callable[..., None], squares: str, tmp_path: Path) -> None:
    dataset = {"class_path": squares, "init_args": {"n": 100}}
    source = {"class_path": "lit_privq.data.from_dataset.FromDataset", "init_args": {"dataset": dataset, "grey": True}}
    once = ("--trainer.max_epochs", "1", "--data.dataset", json.dumps(source))
    privq("fit", "shadow/digits.yaml", tmp_path, *once)
    path = str(tmp_path / "checkpoints/none-32/000.ckpt")
    with pytest.raises(ValueError, match="add --trust squares_of_mine"):
        privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", path)
    privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", path, "--trust", "squares_of_mine")
    assert read_dump(tmp_path / "confidence/none-32/000.npz").meta["dataset"] == "squares"
