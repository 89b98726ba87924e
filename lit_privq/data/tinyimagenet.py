"""TinyImageNet: 64x64 colour images of 200 classes, as its official folder tree has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lit_privq.data.pool import Pool, some_of

Samples = list[tuple[Path, int]]
"""Images and the numbers of their classes."""

_SOURCE = "get tiny-imagenet-200.zip from cs231n.stanford.edu and unpack it there, or point data.root or LIT_PRIVQ_DATA"


@dataclass(frozen=True)
class TinyImageNet:
    """TinyImageNet below ``root/tiny-imagenet-200``, or the classes of it that ``wnids.txt`` lists.

    The official validation images are the test set; the official test images have no public labels.

    Args:
        pool_size: use only so many examples of the training set, drawn over all classes; None uses all.
        n_classes: outputs of the networks, at least as many as there are classes; None for these. A config of the whole
            data set says 200 and so does for folders that hold a part of it.

    Raises:
        ValueError: on loading, if there are more classes.
    """

    pool_size: int | None = None
    n_classes: int | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Decode every image that is used; grey ones become RGB."""
        found, train, test = self._samples(root)
        n_classes = found if self.n_classes is None else self.n_classes
        if n_classes < found:
            raise ValueError(f"n_classes must be at least the {found} of wnids.txt; got {n_classes}, leave it out")
        mean, std = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
        return Pool("tinyimagenet", *_decode(train), *_decode(test), n_classes=n_classes, mean=mean, std=std)

    def _samples(self, root: Path) -> tuple[int, Samples, Samples]:
        """How many classes there are, and the images of the pool and of the test set."""
        top = root / "tiny-imagenet-200"
        try:
            classes = {wnid: k for k, wnid in enumerate((top / "wnids.txt").read_text().split())}
            train = [(path, k) for wnid, k in classes.items() for path in _images(top / "train" / wnid / "images")]
            rows = [line.split("\t") for line in (top / "val" / "val_annotations.txt").read_text().splitlines()]
        except FileNotFoundError as error:
            raise FileNotFoundError(f"TinyImageNet lacks {error.filename}; {_SOURCE} at its parent folder") from error
        test = [(top / "val" / "images" / row[0], classes[row[1]]) for row in rows if row[1] in classes]
        return len(classes), [train[row] for row in some_of(len(train), self.pool_size)], test


def _images(folder: Path) -> list[Path]:
    """The images of one class, in the order of their numbers."""
    found = sorted(folder.glob("*.JPEG"), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
    if not found:
        raise FileNotFoundError(2, "no images", str(folder))
    return found


def _decode(files: Samples) -> tuple[Tensor, Tensor]:
    """Read images into (examples, 3, 64, 64) uint8 and their labels."""
    images = np.empty((len(files), 64, 64, 3), dtype=np.uint8)
    for row, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                images[row] = np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise FileNotFoundError(f"TinyImageNet's image {path} is missing or damaged; {_SOURCE}") from error
    labels = torch.tensor([label for _, label in files])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels
