"""What the classes of a data set are called, for people."""

from __future__ import annotations

from pathlib import Path

from lit_privq.data.pool import Source
from lit_privq.data.tinyimagenet import TinyImageNet
from lit_privq.data.vision import CIFAR10, CIFAR100, FashionMNIST


def class_names(source: Source, root: Path) -> tuple[str, ...]:
    """Names in the order of the classes; empty where the data set does not say, and numbers must do.

    Args:
        source: the data set, or what changes another one, such as `lit_privq.data.Canaries`.
        root: where data sets lie.
    """
    while inner := getattr(source, "source", None):
        source = inner
    if isinstance(source, CIFAR10 | CIFAR100 | FashionMNIST):
        import torchvision.datasets

        return tuple(getattr(torchvision.datasets, type(source).__name__)(root, train=False).classes)
    if isinstance(source, TinyImageNet):
        top = root / "tiny-imagenet-200"
        words = dict(line.split("\t") for line in (top / "words.txt").read_text(encoding="utf-8").splitlines())
        return tuple(words[wnid].partition(",")[0] for wnid in (top / "wnids.txt").read_text().split())
    return ()
