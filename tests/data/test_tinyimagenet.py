from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_privq.data.tinyimagenet import TinyImageNet

CLASSES = ("n03", "n01", "n02")  # in the order of wnids.txt, which is not alphabetical
TRAIN, VAL = "tiny-imagenet-200/train", "tiny-imagenet-200/val"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A miniature of the official tree: 12 grey training images per class, brighter with their number."""
    top = tmp_path / "tiny-imagenet-200"
    for k, wnid in enumerate(CLASSES):
        (top / "train" / wnid / "images").mkdir(parents=True)
        for number in range(12):
            save(top / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", 60 * k + number)
    (top / "val/images").mkdir(parents=True)
    rows = []
    for number, wnid in enumerate(["n01", "n03", "n02", "n03"]):
        save(top / "val/images" / f"val_{number}.JPEG", 50 * number)
        rows.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    (top / "val/val_annotations.txt").write_text("".join(rows))
    (top / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    return tmp_path


def save(path: Path, grey: int, size: int = 64) -> None:
    Image.fromarray(np.full((size, size), grey, dtype=np.uint8)).save(path, format="JPEG")


def test_the_official_tree_is_read_class_by_class_in_the_order_of_numbers(root: Path) -> None:
    pool = TinyImageNet().load(root, download=False)
    assert pool.inputs.shape == (36, 3, 64, 64)
    assert pool.inputs.dtype == torch.uint8
    assert pool.labels.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    greys = pool.inputs.float().mean(dim=(1, 2, 3)).round().int()
    assert greys.tolist() == [60 * k + number for k in range(3) for number in range(12)]
    assert pool.test_labels.tolist() == [1, 0, 2, 0]
    assert pool.test_inputs[:, 0, 0, 0].tolist() == [0, 50, 100, 150]
    assert (pool.name, pool.n_classes) == ("tinyimagenet", 3)


def test_a_subset_is_the_classes_that_wnids_lists(root: Path) -> None:
    (root / "tiny-imagenet-200/wnids.txt").write_text("n02\nn03\n")
    pool = TinyImageNet().load(root, download=False)
    assert pool.n_classes == 2
    assert pool.labels.tolist() == [0] * 12 + [1] * 12
    assert pool.test_labels.tolist() == [1, 0, 1]


def test_a_network_of_all_classes_takes_a_folder_of_some(root: Path) -> None:
    pool = TinyImageNet(n_classes=200).load(root, download=False)
    assert pool.task.outputs == 200
    assert pool.labels.unique().tolist() == [0, 1, 2]


def test_fewer_outputs_than_classes_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"^n_classes must be at least the 3 of wnids.txt; got 2, leave it out$"):
        TinyImageNet(n_classes=2).load(root, download=False)


def test_a_smaller_pool_has_images_of_all_classes_in_the_order_of_the_whole(root: Path) -> None:
    whole, some = TinyImageNet().load(root, False), TinyImageNet(pool_size=18).load(root, False)
    rows = [next(k for k, image in enumerate(whole.inputs) if torch.equal(image, one)) for one in some.inputs]
    assert rows == sorted(set(rows))
    assert torch.equal(whole.labels[rows], some.labels)
    assert some.labels.unique().tolist() == [0, 1, 2]
    assert some.test_labels.tolist() == whole.test_labels.tolist()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda root: (root / "tiny-imagenet-200/wnids.txt").unlink(), "wnids.txt"),
        (lambda root: (root / VAL / "val_annotations.txt").unlink(), "val_annotations.txt"),
        (lambda root: [path.unlink() for path in (root / TRAIN / "n01/images").iterdir()], "train/n01/images"),
        (lambda root: (root / VAL / "images/val_2.JPEG").unlink(), "val_2.JPEG"),
        (lambda root: (root / TRAIN / "n02/images/n02_3.JPEG").write_bytes(b"no image"), "n02_3.JPEG"),
        (lambda root: save(root / TRAIN / "n02/images/n02_4.JPEG", 7, size=32), "n02_4.JPEG"),
    ],
)
def test_what_is_missing_or_damaged_is_named_with_its_place_and_remedy(
    root: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(root)
    with pytest.raises(FileNotFoundError, match=f"{root}.*{named}") as caught:
        TinyImageNet().load(root, download=False)
    assert "get tiny-imagenet-200.zip" in str(caught.value)
    assert "LIT_PRIVQ_DATA" in str(caught.value)


def test_a_truncated_image_is_named(root: Path) -> None:
    path = root / TRAIN / "n03/images/n03_5.JPEG"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FileNotFoundError, match=r"n03_5\.JPEG is missing or damaged"):
        TinyImageNet().load(root, download=False)
