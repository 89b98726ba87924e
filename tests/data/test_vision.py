from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from lit_privq.data.pool import Source
from lit_privq.data.vision import CIFAR10, CIFAR100, FashionMNIST

Bytes = NDArray[np.uint8]


def noise(*shape: int) -> Bytes:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


def write_fashion_mnist(root: Path) -> None:
    folder = root / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    for half, n in {"train": 6, "t10k": 4}.items():
        images = struct.pack(">IIII", 0x803, n, 28, 28) + noise(n, 28, 28).tobytes()
        labels = struct.pack(">II", 0x801, n) + bytes(k % 10 for k in range(n))
        (folder / f"{half}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(labels)


@pytest.fixture
def write_cifar(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Write a miniature CIFAR in torchvision's layout, and have torchvision take its checksums for the right ones."""

    def write(root: Path, classes: int) -> None:
        reader: Any = torchvision.datasets.CIFAR10 if classes == 10 else torchvision.datasets.CIFAR100
        folder, key = root / reader.base_folder, "labels" if classes == 10 else "fine_labels"
        folder.mkdir(parents=True)

        def dump(name: str, content: dict[str, Any]) -> list[str]:
            (folder / name).write_bytes(pickle.dumps(content))
            return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

        names = {half: [name for name, _ in getattr(reader, half)] for half in ("train_list", "test_list")}
        for half, files in names.items():
            written = [dump(name, {"data": noise(2, 3072), key: [3, k]}) for k, name in enumerate(files)]
            monkeypatch.setattr(reader, half, written)
        meta = {"label_names": ["x"] * classes, "fine_label_names": ["x"] * classes}
        name, checksum = dump(reader.meta["filename"], meta)
        monkeypatch.setattr(reader, "meta", {**reader.meta, "filename": name, "md5": checksum})

    return write


def test_fashion_mnist_is_read_from_torchvisions_layout(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    pool = FashionMNIST().load(tmp_path, download=False)
    assert np.array_equal(pool.inputs.numpy(), noise(6, 28, 28)[:, None])
    assert pool.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert pool.test_inputs.shape == (4, 1, 28, 28)
    assert (pool.name, pool.n_classes) == ("fashion_mnist", 10)
    assert FashionMNIST(pool_size=4).load(tmp_path, download=False).labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="pool_size must lie between 2 and 6; got 7"):
        FashionMNIST(pool_size=7).load(tmp_path, download=False)


@pytest.mark.parametrize(("source", "classes", "n_train"), [(CIFAR10, 10, 10), (CIFAR100, 100, 2)])
def test_cifar_is_read_from_torchvisions_layout_channels_first(
    tmp_path: Path, write_cifar: Callable[[Path, int], None], source: type[CIFAR10], classes: int, n_train: int
) -> None:
    write_cifar(tmp_path, classes)
    pool = source().load(tmp_path, download=False)
    assert pool.inputs.shape == (n_train, 3, 32, 32)
    assert pool.inputs.dtype == torch.uint8
    assert pool.inputs.is_contiguous()
    assert np.array_equal(pool.inputs[:2].numpy(), noise(2, 3072).reshape(2, 3, 32, 32))
    assert pool.labels.dtype == torch.int64
    assert pool.labels[:2].tolist() == [3, 0]
    assert len(pool.test_labels) == 2
    assert (pool.name, pool.n_classes) == (f"cifar{classes}", classes)
    assert len(source(pool_size=2).load(tmp_path, download=False).labels) == 2


@pytest.mark.parametrize(
    ("source", "folder"),
    [(FashionMNIST(), "FashionMNIST/raw"), (CIFAR10(), "cifar-10-batches-py"), (CIFAR100(), "cifar-100-python")],
)
def test_a_missing_set_says_what_is_missing_where_and_how_to_get_it(
    tmp_path: Path, source: Source, folder: str
) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks .*train|lacks data_batch_1") as caught:
        source.load(tmp_path, download=False)
    assert str(tmp_path / folder) in str(caught.value)
    assert f"data.root or LIT_PRIVQ_DATA at the folder that holds {folder}" in str(caught.value)
    assert "--data.download true" in str(caught.value)


def test_a_single_missing_file_is_named(tmp_path: Path, write_cifar: Callable[[Path, int], None]) -> None:
    write_cifar(tmp_path, 10)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="CIFAR10 lacks data_batch_3 in "):
        CIFAR10().load(tmp_path, download=False)


def test_a_truncated_file_is_noticed(tmp_path: Path, write_cifar: Callable[[Path, int], None]) -> None:
    write_fashion_mnist(tmp_path)
    write_cifar(tmp_path, 100)
    files: dict[Path, Source] = {
        tmp_path / "FashionMNIST/raw/t10k-images-idx3-ubyte": FashionMNIST(),
        tmp_path / "cifar-100-python/test": CIFAR100(),
    }
    for path, source in files.items():
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(FileNotFoundError, match=f"is damaged: one of .*{path.name}.* in {path.parent}"):
            source.load(tmp_path, download=False)
