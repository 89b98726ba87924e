"""Canaries: planted examples that a model can only memorize, whose leakage is the worst case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lit_privq.data.pool import Pool, Source

Kind = Literal["label_noise", "blank", "out_of_distribution", "noise", "duplicate"]
Planted = tuple[Tensor, Tensor]  # inputs (canaries, ...) and labels (canaries,)


@dataclass(frozen=True)
class Canaries:
    """A data set with canaries in the place of some pool examples; the test set stays as it is.

    They are split between models like every other example. Audits report them as the slice ``canaries``, and all other
    examples as ``clean``. The pool's fingerprint tells models with canaries from those without.

    Args:
        source: the data set.
        kind: ``label_noise``, a true image with a wrong label; ``blank``, an image of the mean colour;
            ``out_of_distribution``, an image of ``other``; ``noise``, random pixels; ``duplicate``, another pool
            example shifted by one pixel in each direction, with that example's label. Labels are drawn uniformly from
            the classes that the pool has: of label noise from the wrong ones, of the next three from all.
        count: canaries, at least 1 and fewer than the pool has examples.
        seed: of which examples they replace and of what they are.
        other: the data set of out-of-distribution canaries; its images are resized, bilinearly, and their channels
            averaged or repeated.

    Raises:
        ValueError: if ``other`` is missing or not wanted, or if, on loading, the pool is too small or the kind does not
            fit it.

    Source: label noise as in Aerni, Zhang & Tramèr 2024, arXiv:2404.17399.
    """

    source: Source
    kind: Kind = "label_noise"
    count: int = 500
    seed: int = 0
    other: Source | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1 canary; got {self.count}, leave Canaries out for none")
        if (self.other is not None) != (self.kind == "out_of_distribution"):
            raise ValueError(
                "other names the data set of out_of_distribution canaries, and of these alone; "
                f"got kind {self.kind} {'with' if self.other else 'without'} other"
            )

    def load(self, root: Path, download: bool) -> Pool:
        """Read the data set and plant the canaries."""
        pool = self.source.load(root, download)
        self._check(pool)
        rng = np.random.default_rng([self.seed, self.count])
        order = torch.from_numpy(rng.permutation(len(pool.labels)))
        places, rest = order[: self.count].sort().values, order[self.count :]
        plant: Mapping[Kind, Callable[[], Planted]] = {
            "label_noise": lambda: (pool.inputs[places], _wrong_labels(pool, places, rng)),
            "blank": lambda: (_blank(pool).expand(self.count, -1, -1, -1), self._labels(pool, rng)),
            "out_of_distribution": lambda: (self._foreign(pool, root, download, rng), self._labels(pool, rng)),
            "noise": lambda: (_noise(pool, self.count, rng), self._labels(pool, rng)),
            "duplicate": lambda: _shifted(pool, rest[: self.count]),
        }
        inputs, labels = pool.inputs.clone(), pool.labels.clone()
        inputs[places], labels[places] = plant[self.kind]()
        planted = torch.zeros(len(labels), dtype=torch.bool)
        planted[places] = True
        return replace(
            pool, inputs=inputs, labels=labels, slices={**pool.slices, "canaries": planted, "clean": ~planted}
        )

    def _check(self, pool: Pool) -> None:
        examples = len(pool.labels)
        most = examples // 2 if self.kind == "duplicate" else examples - 1  # duplicates need originals
        if self.count > most:
            raise ValueError(
                f"{self.count} {self.kind} canaries do not fit the {examples} pool examples of {pool.name}; "
                f"set count to at most {most}"
            )
        if not pool.n_classes:
            raise ValueError(f"canaries need classes, and the labels of {pool.name} are values; leave Canaries out")
        if self.kind == "label_noise" and (pool.labels == pool.labels[0]).all():
            raise ValueError(f"label noise needs a wrong class, and all examples of {pool.name} have the same label")
        if self.kind != "label_noise" and (pool.inputs.dtype != torch.uint8 or pool.inputs.dim() != 4):
            raise ValueError(
                f"{self.kind} canaries are images, and examples of {pool.name} are {pool.inputs.dtype} "
                f"{tuple(pool.inputs.shape[1:])}; use kind label_noise"
            )

    def _labels(self, pool: Pool, rng: np.random.Generator) -> Tensor:
        classes, _ = _classes(pool)
        return classes[torch.from_numpy(rng.integers(len(classes), size=self.count))]

    def _foreign(self, pool: Pool, root: Path, download: bool, rng: np.random.Generator) -> Tensor:
        """Images of the other data set, in this one's size and channels, (canaries, channels, height, width)."""
        assert self.other is not None
        images = self.other.load(root, download).inputs
        if images.dtype != torch.uint8 or images.dim() != 4 or len(images) < self.count:
            raise ValueError(
                f"out_of_distribution canaries need {self.count} images; {type(self.other).__name__} has "
                f"{images.dtype} {tuple(images.shape)}"
            )
        chosen = images[torch.from_numpy(rng.permutation(len(images))[: self.count])].float()
        chosen = functional.interpolate(chosen, pool.inputs.shape[2:], mode="bilinear", antialias=True)
        channels = pool.inputs.shape[1]
        if chosen.shape[1] != channels:
            chosen = chosen.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        return chosen.round().clamp(0, 255).to(torch.uint8)


def _classes(pool: Pool) -> tuple[Tensor, Tensor]:
    """The classes that the pool has, ascending, and the place of each example's among them."""
    classes, places = torch.unique(pool.labels, return_inverse=True)
    return classes, places


def _wrong_labels(pool: Pool, places: Tensor, rng: np.random.Generator) -> Tensor:
    classes, numbers = _classes(pool)
    steps = torch.from_numpy(rng.integers(1, len(classes), size=len(places)))
    return classes[(numbers[places] + steps) % len(classes)]


def _blank(pool: Pool) -> Tensor:
    """The mean colour, (1, channels, height, width)."""
    colour = pool.inputs.float().mean((0, 2, 3)).round().to(torch.uint8)
    return colour.view(1, -1, 1, 1).expand(1, *pool.inputs.shape[1:])


def _noise(pool: Pool, count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.integers(0, 256, size=(count, *pool.inputs.shape[1:]), dtype=np.uint8))


def _shifted(pool: Pool, originals: Tensor) -> Planted:
    """Copies, one pixel down and right, with black where nothing was."""
    return functional.pad(pool.inputs[originals], (1, 0, 1, 0))[..., :-1, :-1], pool.labels[originals]
