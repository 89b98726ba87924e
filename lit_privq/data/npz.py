"""Arrays of one's own: images or features and their labels in an .npz file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lit_privq.data.images import as_inputs, as_labels, class_count, make_pool
from lit_privq.data.pool import Pool, check_pool_size, set_aside


@dataclass(frozen=True)
class Npz:
    """Arrays in ``root/file``, with a test set of their own or one that is set aside from these.

    Images are uint8, normalised by the pool's own mean and deviation; floats are features and used as they are. Integer
    labels are classes, counted from 0; float labels are values of a regression.

    Args:
        file: the .npz below the root, as ``numpy.savez`` writes it.
        images: name of the array of images (examples, height, width[, channels]) or features (examples, ...) in it.
        labels: name of their labels, (examples,).
        test_images: name of the test set's; where the file has no such array, ``test_share`` is set aside.
        test_labels: name of the test set's labels.
        test_share: share of the examples that no model trains on, a fraction; for files without a test set only.
        pool_size: use only the first examples, as many; None uses all.
        seed: of the order in which a test set is set aside.
        name: of the data set in results; None for the file's.

    >>> Npz("pathmnist.npz", images="train_images", labels="train_labels").test_images
    'test_images'
    """

    file: str
    images: str = "images"
    labels: str = "labels"
    test_images: str = "test_images"
    test_labels: str = "test_labels"
    test_share: float = 0.2
    pool_size: int | None = None
    seed: int = 0
    name: str | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Read the arrays that are used.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, lacks an array, or an array is neither images nor features.
        """
        name = self.name or Path(self.file).stem
        with _opened(root / self.file) as arrays:
            inputs = as_inputs(name, _array(arrays, self.images, root / self.file))
            labels = as_labels(name, _array(arrays, self.labels, root / self.file))
            if len(labels) != len(inputs):
                raise ValueError(
                    f"{root / self.file} must hold one label for each example; {self.images} has {len(inputs)} and "
                    f"{self.labels} has {len(labels)}"
                )
            if self.test_images in arrays:
                test_inputs = as_inputs(name, _array(arrays, self.test_images, root / self.file))
                test_labels = as_labels(name, _array(arrays, self.test_labels, root / self.file))
                n_classes = class_count(name, torch.cat([labels, test_labels]))
                n = check_pool_size(self.pool_size, len(labels))
                return make_pool(name, inputs[:n], labels[:n], test_inputs, test_labels, n_classes)
        pool, test = map(torch.from_numpy, set_aside(len(labels), self.test_share, self.seed, self.pool_size))
        return make_pool(name, inputs[pool], labels[pool], inputs[test], labels[test], class_count(name, labels))


def _opened(path: Path) -> Any:  # noqa: ANN401  # NumPy's own type is private
    """The file's arrays, each read when it is asked for."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; put the file there, or point data.root or LIT_PRIVQ_DATA at the folder that holds it"
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged or no .npz file; write it with numpy.savez")
    return np.load(path, allow_pickle=False)


def _array(arrays: Any, name: str, path: Path) -> NDArray[Any]:  # noqa: ANN401
    if name not in arrays:
        raise ValueError(
            f"{path} has no array {name!r}; it has {', '.join(arrays)}: say which is which with data.dataset"
        )
    try:
        array: NDArray[Any] = arrays[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} in {path} is damaged or no array of numbers ({error})") from error
    return array
