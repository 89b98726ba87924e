"""Images of one's own: a folder with one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lit_privq.data.images import as_inputs, as_labels, fitted, make_pool
from lit_privq.data.pool import Pool, set_aside, some_of

_Samples = list[tuple[Path, int]]  # each image and the number of its class


@dataclass(frozen=True)
class ImageFolder:
    """Images in ``root/folder/<class>/``, with a test set in a folder of its own or set aside from these.

    Classes are numbered in the order of their names. Every image is scaled and cut at its centre to one size, and
    normalised by the pool's own mean and deviation.

    Args:
        folder: below the root.
        size: height and width of all images, such as [32, 32].
        test_folder: below the root, with the same classes; None sets ``test_share`` of the images aside.
        test_share: share of the images that no model trains on, a fraction; without ``test_folder`` only.
        grey: whether colours are dropped.
        pool_size: examples that are split between models, drawn over all classes; None for all.
        seed: of the order in which a test set is set aside.
        name: of the data set in results; None for the folder's.
    """

    folder: str
    size: Sequence[int]
    test_folder: str | None = None
    test_share: float = 0.2
    grey: bool = False
    pool_size: int | None = None
    seed: int = 0
    name: str | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Decode every image that is used.

        Raises:
            FileNotFoundError: if there are no such folders or no images in them.
            ValueError: if the test set has other classes, or a file is no image; names it.
        """
        classes, train, test = self._samples(root)
        parts = (*self._read(train), *self._read(test))
        return make_pool(self.name or Path(self.folder).name, *parts, n_classes=len(classes))

    def _samples(self, root: Path) -> tuple[list[str], _Samples, _Samples]:
        """The classes, and the images of the pool and of the test set."""
        classes, images = _listed(root / self.folder)
        if self.test_folder is None:
            pool, test = set_aside(len(images), self.test_share, self.seed, self.pool_size)
            return classes, [images[row] for row in pool], [images[row] for row in test]
        test_classes, test_images = _listed(root / self.test_folder)
        if test_classes != classes:
            raise ValueError(
                f"{root / self.test_folder} must hold the same classes as {root / self.folder}; {classes} became "
                f"{test_classes}"
            )
        return classes, [images[row] for row in some_of(len(images), self.pool_size)], test_images

    def _read(self, samples: _Samples) -> tuple[Tensor, Tensor]:
        """(samples, channels, height, width) uint8 and (samples,) int64."""
        images = np.stack([self._decoded(path) for path, _ in samples])
        return as_inputs(self.folder, images), as_labels(self.folder, [label for _, label in samples])

    def _decoded(self, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as image:
                return fitted(image, self.size, self.grey)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is no image or is damaged ({error}); remove it or put it right") from error


def _listed(folder: Path) -> tuple[list[str], _Samples]:
    """The names of the classes, and every image in the order of classes and names."""
    from torchvision.datasets import ImageFolder as Reader  # here: its import takes a second

    try:
        listed = Reader(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} must hold one folder of images per class ({error}); point data.root or LIT_PRIVQ_DATA at the "
            "folder that holds it"
        ) from error
    return listed.classes, [(Path(path), label) for path, label in listed.samples]
