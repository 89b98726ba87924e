"""Any map-style data set, torchvision's or one's own, by class path."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lit_privq.artifacts.construction import construct
from lit_privq.artifacts.trust import resolve
from lit_privq.data.images import as_inputs, as_labels, class_count, fitted, make_pool
from lit_privq.data.pool import Pool, set_aside, some_of


@dataclass(frozen=True)
class FromDataset:
    """A map-style data set whose items are (image or features, label), read once into memory.

    Images are PIL images or uint8 arrays and are normalised by the pool's own mean and deviation, so the data set needs
    no transform; floats are features and used as they are.

    Args:
        dataset: class path and arguments, such as ``{class_path: torchvision.datasets.SVHN, init_args: {split:
            train}}``; ``root`` and ``download`` are added where the class takes them. Or the data set itself.
        test_dataset: likewise; None sets ``test_share`` of the examples aside.
        test_share: share of the examples that no model trains on, a fraction; without ``test_dataset`` only.
        size: height and width that PIL images are scaled and cut to, such as [32, 32]; None where all have one size.
        grey: whether PIL images' colours are dropped.
        pool_size: examples that are split between models, drawn over all; None for all.
        seed: of the order in which a test set is set aside.
        name: of the data set in results; None for the class's.
    """

    dataset: dict[str, Any]
    test_dataset: dict[str, Any] | None = None
    test_share: float = 0.2
    size: Sequence[int] | None = None
    grey: bool = False
    pool_size: int | None = None
    seed: int = 0
    name: str | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Read every item that is used.

        Raises:
            ValueError: if the class path names no data set, or an item is not an image or features with a label.
        """
        data = _made(self.dataset, root, download)
        name = self.name or type(data).__name__.lower()
        if self.test_dataset is None:
            pool, test = set_aside(len(data), self.test_share, self.seed, self.pool_size)
            test_inputs, test_labels = self._read(name, data, test)
        else:
            tests = _made(self.test_dataset, root, download)
            pool = some_of(len(data), self.pool_size)
            test_inputs, test_labels = self._read(name, tests, range(len(tests)))
        inputs, labels = self._read(name, data, pool)
        n_classes = class_count(name, torch.cat([labels, test_labels]))
        return make_pool(name, inputs, labels, test_inputs, test_labels, n_classes)

    def _read(self, name: str, data: Any, rows: Sequence[int] | NDArray[np.int64]) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Inputs and labels of some items."""
        items = [data[int(row)] for row in rows]
        if not all(isinstance(item, Sequence) and len(item) >= 2 for item in items):
            raise ValueError(f"items of {name} must be (image or features, label); got {type(items[0]).__name__}")
        inputs = [fitted(x, self.size, self.grey) if isinstance(x, Image.Image) else np.asarray(x) for x, *_ in items]
        shapes = {x.shape for x in inputs}
        if len(shapes) > 1:
            raise ValueError(
                f"examples of {name} must have one shape; there are {sorted(shapes)[:3]}: set size, such as [32, 32]"
            )
        stacked = np.stack(inputs)
        if stacked.dtype.kind == "f" and stacked.ndim == 4:
            raise ValueError(
                f"images of {name} are {stacked.dtype}; leave out the transform that makes them floats, they are "
                "normalised when batches are made"
            )
        return as_inputs(name, stacked), as_labels(name, [label for _, label, *_ in items])


def _made(dataset: Any, root: Path, download: bool) -> Any:  # noqa: ANN401
    """The data set behind a class path; one that is given is left as it is."""
    if not isinstance(dataset, Mapping):
        return dataset
    if "class_path" not in dataset:
        raise ValueError(f"a data set is named by class_path and init_args; got {dict(dataset)}")
    takes = inspect.signature(resolve(dataset["class_path"])).parameters
    offered = {key: value for key, value in (("root", str(root)), ("download", download)) if key in takes}
    made = construct({**dataset, "init_args": {**offered, **dataset.get("init_args", {})}})
    if not hasattr(made, "__getitem__") or not hasattr(made, "__len__"):
        raise ValueError(
            f"a map-style data set has a length and items by index; {dataset['class_path']} gives {type(made).__name__}"
        )
    return made
