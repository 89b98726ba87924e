"""exposed.npz: pictures of the most exposed examples, kept where the data are at hand for pages drawn without them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write
from lit_privq.artifacts.confidences import map_npz

_ARRAYS = ("examples", "images", "labels", "true_labels", "canaries", "inside", "outside")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of some examples, and how sure full-precision models are of them.

    Args:
        examples: (examples,) numbers in the pool, most exposed first.
        images: (examples, channels, height, width) uint8, one or three channels.
        labels: (examples,) the classes that models were trained on.
        true_labels: (examples,) the classes that the data set gives them; others than ``labels`` for canaries of wrong
            labels.
        canaries: (examples,) bool.
        inside: (examples,) probability of the label, of shadow models that trained on the example: their mean log-odds.
        outside: (examples,) the same of shadow models that did not.
        classes: what classes are called; empty where the data set does not say.
        fingerprint: of the pool.
    """

    examples: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64]
    canaries: NDArray[np.bool_]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    classes: tuple[str, ...]
    fingerprint: str

    def name(self, label: int) -> str:
        """What a class is called, or its number."""
        return self.classes[label] if label < len(self.classes) else str(label)


def write_pictures(folder: Path, pictures: Pictures) -> None:
    """Write ``exposed.npz``: some ten kilobytes, the same bytes for the same pictures."""
    arrays: dict[str, Any] = {name: getattr(pictures, name) for name in _ARRAYS}
    arrays |= {"classes": np.array(pictures.classes, dtype=np.str_), "fingerprint": np.array(pictures.fingerprint)}
    with atomic_write(folder / "exposed.npz") as file:
        np.savez_compressed(file, **arrays)


def read_pictures(folder: Path) -> Pictures | None:
    """The same, read; None where there are none, as in folders of earlier versions and of data that are no images.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / "exposed.npz"
    if not path.is_file():
        return None
    found = map_npz(path)
    if absent := [name for name in (*_ARRAYS, "classes", "fingerprint") if name not in found]:
        raise ValueError(f"{path} has no array named {', '.join(absent)}; delete it and run `report --data` again")
    arrays: dict[str, Any] = {name: found[name] for name in _ARRAYS}
    return Pictures(**arrays, classes=tuple(found["classes"].tolist()), fingerprint=str(found["fingerprint"]))
