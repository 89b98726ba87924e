from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_privq.data.image_folder import ImageFolder


def write(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 5) -> None:
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            colour = (100 * k, 10 * number, 7)
            Image.new("RGB", (12 + number, 8), colour).save(folder / name / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "pets/train")
    write(tmp_path / "pets/test", each=2)
    return tmp_path


def test_every_image_is_read_at_one_size_with_the_number_of_its_class(root: Path) -> None:
    pool = ImageFolder("pets/train", size=[4, 6], test_folder="pets/test", name="pets").load(root, False)
    assert (pool.name, pool.n_classes) == ("pets", 2)
    assert pool.inputs.shape == (10, 3, 4, 6)
    assert pool.inputs.dtype == torch.uint8
    assert pool.labels.tolist() == [0] * 5 + [1] * 5
    assert pool.inputs[:, 0, 0, 0].tolist() == [0] * 5 + [100] * 5
    assert pool.inputs[:5, 1, 3, 5].tolist() == [0, 10, 20, 30, 40]
    assert pool.test_labels.tolist() == [0, 0, 1, 1]


def test_the_pool_is_normalised_by_its_own_mean_and_deviation(root: Path) -> None:
    pool = ImageFolder("pets/train", size=[4, 6]).load(root, False)
    pixels = pool.inputs.double() / 255
    np.testing.assert_allclose(pool.mean, pixels.mean(dim=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(pool.std[:2], pixels.std(dim=(0, 2, 3), correction=0)[:2], rtol=1e-12)
    assert pool.std[2] == 1.0, "a channel that never changes has no deviation to divide by"


def test_without_a_test_folder_a_share_is_set_aside(root: Path) -> None:
    source = ImageFolder("pets/train", size=[4, 6], test_share=0.3)
    pool = source.load(root, False)
    assert (len(pool.labels), len(pool.test_labels)) == (7, 3)
    assert pool.name == "train"
    assert pool.n_examples == 10


def test_a_smaller_pool_keeps_the_test_set(root: Path) -> None:
    whole = ImageFolder("pets/train", size=[4, 6], test_folder="pets/test").load(root, False)
    some = ImageFolder("pets/train", size=[4, 6], test_folder="pets/test", pool_size=4).load(root, False)
    assert len(some.labels) == 4
    assert torch.equal(some.test_inputs, whole.test_inputs)
    assert some.n_classes == 2


def test_grey_images_have_one_channel(root: Path) -> None:
    assert ImageFolder("pets/train", size=[4, 6], grey=True).load(root, False).inputs.shape[1:] == (1, 4, 6)


def test_a_missing_or_empty_folder_is_named_with_the_remedy(root: Path) -> None:
    (root / "empty").mkdir()
    for folder in ("nowhere", "empty"):
        with pytest.raises(
            FileNotFoundError, match=f"{root / folder} must hold one folder of images per class .*LIT_PR"
        ):
            ImageFolder(folder, size=[4, 6]).load(root, False)


def test_a_test_set_of_other_classes_is_refused(root: Path) -> None:
    write(root / "others", classes=("cat", "cow"))
    with pytest.raises(ValueError, match=r"must hold the same classes .*\['cat', 'dog'\] became \['cat', 'cow'\]"):
        ImageFolder("pets/train", size=[4, 6], test_folder="others").load(root, False)


def test_a_damaged_image_is_named(root: Path) -> None:
    (root / "pets/train/dog/3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"dog/3\.png is no image or is damaged"):
        ImageFolder("pets/train", size=[4, 6]).load(root, False)
