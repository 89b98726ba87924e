"""The split made flesh: a LightningDataModule whose loaders cannot break half-membership."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor

from lit_privq.data.membership import (
    Bools,
    calibration_indices,
    equal_batches,
    parse_models,
    study_membership,
)
from lit_privq.data.pool import Picks, Pool, Sampler, Source
from lit_privq.models.task import Task

_SHIFT_SIGNS = ((0, 0), (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class Share(NamedTuple):
    """A batch of the models that have equally many examples in it.

    Args:
        models: positions in the fleet.
        inputs: (models, batch, ...).
        labels: (models, batch).
    """

    models: tuple[int, ...]
    inputs: Tensor
    labels: Tensor


class ShadowDataModule(L.LightningDataModule):
    """The pool, the split and the loaders of one shadow model or target, or of a fleet of them.

    Every example trains exactly half of the shadow models, every shadow model trains on half of the pool, and
    held-out targets have independent halves. The set waits as uint8 beside the model and batches are made there.

    Args:
        dataset: where the data come from.
        root: folder of the data sets; None takes the environment variable LIT_PRIVQ_DATA, then ``datasets``.
        download: whether a missing set may be fetched.
        n_shadows: shadow models of the study, even.
        n_targets: held-out targets; their indices follow the shadows'.
        model_index: whose members are trained on: ``3``, or ``0:16`` for a fleet.
        split_seed: of membership, one for a whole study.
        seed: of training noise: order, augmentation and initial weights; the command line sets it from
            ``seed_everything``, and every model has its own stream of it.
        batch_size: the largest batch; an epoch's batches are as equal as can be and leave no example out.
        padding: random crops shift by up to this many pixels; 0 for none. Queries shift by the same.
        mirror: whether images are mirrored at random in training and in queries.
        calibration_size: examples of the model's own members that calibrate a quantizer.
        n_queries: how often each example is queried: 1 plain, 2 adds its mirror image, up to 9 shifts of either.

    Raises:
        ValueError: if a number above is out of its range.
    """

    def __init__(
        self,
        dataset: Source,
        root: str | None = None,
        download: bool = False,
        n_shadows: int = 64,
        n_targets: int = 10,
        model_index: str = "0",
        split_seed: int = 0,
        seed: int = 0,
        batch_size: int = 128,
        padding: int = 4,
        mirror: bool = True,
        calibration_size: int = 1024,
        n_queries: int = 1,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if batch_size < 1 or padding < 0 or n_targets < 0:
            raise ValueError(
                "batch_size must be at least 1, padding and n_targets at least 0; "
                f"got batch_size {batch_size}, padding {padding}, n_targets {n_targets}"
            )
        self.models = parse_models(model_index, n_shadows + n_targets)
        self.fleet = ":" in str(model_index)
        self.queries = query_views(n_queries, padding, mirror)
        self.dataset, self.download, self.seed = dataset, download, seed
        self.root = Path(root or os.environ.get("LIT_PRIVQ_DATA") or "datasets")
        self.n_shadows, self.n_targets, self.split_seed = n_shadows, n_targets, split_seed
        self.batch_size, self.padding, self.mirror = batch_size, padding, mirror
        self.calibration_size = calibration_size
        self._samplers: dict[tuple[str, torch.device], Sampler] = {}

    @cached_property
    def pool(self) -> Pool:
        """The data set, read once.

        Raises:
            ValueError: if what are no images are to be shifted or mirrored.
        """
        pool = self.dataset.load(self.root, self.download)
        if pool.inputs.dim() < 4 and (self.padding or self.mirror):
            raise ValueError(
                f"only images are shifted and mirrored; examples of {pool.name} are {tuple(pool.inputs.shape[1:])}, "
                f"got padding {self.padding} and mirror {self.mirror}, set data.padding 0 and data.mirror false"
            )
        return pool

    @cached_property
    def fingerprint(self) -> str:
        """The pool's fingerprint, taken once: every checkpoint of a fleet is written and checked with it."""
        return self.pool.fingerprint()

    @cached_property
    def members(self) -> Bools:
        """Training membership, (models of the study, examples)."""
        members = study_membership(self.n_shadows, self.n_targets, len(self.pool.labels), self.split_seed)
        shadows = members[: self.n_shadows]
        assert (shadows.sum(axis=0) == self.n_shadows // 2).all(), "an example must train half of the shadow models"
        assert abs(members.sum(axis=1) - members.shape[1] / 2).max() < 1, "a model must train on half of the pool"
        return members

    def setup(self, stage: str) -> None:
        """Read the data and check that the split and the calibration sets exist, before anything else is made."""
        if stage == "fit":
            for model in self.models:
                self.calibration(model)
        _ = self.members

    def calibration(self, model: int) -> Tensor:
        """Pool indices of a model's calibration set, (calibration_size,), all of them its own members."""
        chosen = calibration_indices(self.members[model], self.calibration_size, self.split_seed, model)
        assert self.members[model, chosen].all(), "calibration examples must be members"
        return torch.from_numpy(chosen)

    def augmentation(self, indices: Tensor, generator: torch.Generator | None) -> Picks:
        """Picks of these examples, (batch,), shifted and mirrored at random as in training; as they are without one."""
        size = (len(indices), 2)
        if generator is None:
            shifts = torch.zeros(size, dtype=torch.int64, device=indices.device)
            return Picks(indices, shifts, shifts[:, 0].bool())
        device = indices.device
        shifts = torch.randint(-self.padding, self.padding + 1, size, generator=generator, device=device)
        chance = torch.rand(len(indices), generator=generator, device=device)
        return Picks(indices, shifts, chance < (0.5 if self.mirror else 0.0))

    def train_dataloader(self) -> MemberBatches | CalibrationBatch:
        """Members only: in each model's own order for a training, the calibration sets for a `Calibration`."""
        assert self.trainer is not None
        calibrates = getattr(self.trainer.lightning_module, "calibrates", False)
        return self.calibration_dataloader() if calibrates else MemberBatches(self)

    def calibration_dataloader(self) -> CalibrationBatch:
        """The calibration sets of all models as one batch, (models, calibration_size), unshifted."""
        return CalibrationBatch(torch.stack([self.calibration(model) for model in self.models]))

    def val_dataloader(self) -> OrderedBatches:
        """The test set in index order."""
        return OrderedBatches(len(self.pool.test_labels), self.batch_size * 4, self.queries[:1])

    def test_dataloader(self) -> OrderedBatches:
        """The test set in index order."""
        return self.val_dataloader()

    def predict_dataloader(self) -> list[OrderedBatches]:
        """The whole pool, then the test set, in index order, once per query."""
        sizes = len(self.pool.labels), len(self.pool.test_labels)
        return [OrderedBatches(size, self.batch_size * 4, self.queries) for size in sizes]

    def on_after_batch_transfer(
        self, batch: Picks | list[tuple[tuple[int, ...], Picks]], dataloader_idx: int
    ) -> tuple[Tensor, Tensor] | list[Share]:
        """Turn picks into images on the device that the picks have been moved to, in the trainer's precision."""
        assert self.trainer is not None
        convert = self.trainer.precision_plugin.convert_input
        if isinstance(batch, Picks):
            on_test = not self.trainer.training and (not self.trainer.predicting or dataloader_idx == 1)
            inputs, labels = self.sampler("test" if on_test else "pool", batch.indices.device).batch(batch)
            return convert(inputs), labels
        shares = []
        for models, picks in batch:
            inputs, labels = self.sampler("pool", picks.indices.device).batch(picks)
            shares.append(Share(models, convert(inputs), labels))
        return shares if self.fleet else (shares[0].inputs[0], shares[0].labels[0])

    def sampler(self, part: str, device: torch.device) -> Sampler:
        """The pool or the test set on a device, moved there once."""
        if (part, device) not in self._samplers:
            pool = self.pool
            data = (pool.inputs, pool.labels) if part == "pool" else (pool.test_inputs, pool.test_labels)
            self._samplers[part, device] = Sampler(*data, pool.mean, pool.std, self.padding, device)
        return self._samplers[part, device]


class ShadowModule(L.LightningModule):
    """A module that trains, calibrates or queries the models its data module names."""

    @property
    def data(self) -> ShadowDataModule:
        """The data module that feeds this module."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Trainer sets it without declaring it
        assert isinstance(data, ShadowDataModule)
        return data

    @property
    def task(self) -> Task:
        """What the models are for, as the labels of their pool tell."""
        return self.data.pool.task


class MemberBatches:
    """An epoch's training picks: a list with one entry per group of models that have equally many in the batch."""

    def __init__(self, data: ShadowDataModule) -> None:
        self.data = data
        largest = -(-len(data.pool.labels) // 2)  # of any model, so that all take the same number of steps
        self.n_batches = -(-largest // data.batch_size)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[list[tuple[tuple[int, ...], Picks]]]:
        epoch = self.data.trainer.current_epoch if self.data.trainer else 0
        plans = [self._plan(model, epoch) for model in self.data.models]
        for batch in range(self.n_batches):
            sizes = [len(plan[batch].indices) for plan in plans]
            yield [
                (same, _stack([plans[k][batch] for k in same]))
                for size in sorted(set(sizes), reverse=True)
                if (same := tuple(k for k, s in enumerate(sizes) if s == size))
            ]

    def _plan(self, model: int, epoch: int) -> list[Picks]:
        """One model's epoch, drawn from (seed, model, epoch) alone."""
        data = self.data
        rng = np.random.default_rng([data.seed, model, epoch])
        own = rng.permutation(np.flatnonzero(data.members[model]))
        shifts = rng.integers(-data.padding, data.padding + 1, size=(len(own), 2))
        mirrored = rng.random(len(own)) < (0.5 if data.mirror else 0.0)
        picks = Picks(torch.from_numpy(own), torch.from_numpy(shifts), torch.from_numpy(mirrored))
        sizes = list(equal_batches(len(own), data.batch_size, self.n_batches))
        return [Picks(*parts) for parts in zip(*(field.split(sizes) for field in picks), strict=True)]


class CalibrationBatch:
    """One batch of unshifted examples: (models, calibration_size) indices."""

    def __init__(self, indices: Tensor) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Picks]:
        zeros = torch.zeros(*self.indices.shape, 2, dtype=torch.int64)
        yield Picks(self.indices, zeros, zeros[..., 0].bool())


class OrderedBatches:
    """A set's picks in index order, query after query.

    Args:
        n_examples: size of the set.
        batch_size: examples per batch.
        views: the queries, each (shift down, shift right, mirrored).
    """

    def __init__(self, n_examples: int, batch_size: int, views: list[tuple[int, int, bool]]) -> None:
        self.n_examples, self.batch_size, self.views = n_examples, batch_size, views

    def __len__(self) -> int:
        return len(self.views) * -(-self.n_examples // self.batch_size)

    def __iter__(self) -> Iterator[Picks]:
        for down, right, mirrored in self.views:
            for indices in torch.arange(self.n_examples).split(self.batch_size):
                shifts = torch.tensor([down, right]).expand(len(indices), 2)
                yield Picks(indices, shifts, torch.full((len(indices),), mirrored))


def query_views(n_queries: int, padding: int, mirror: bool) -> list[tuple[int, int, bool]]:
    """The first queries of: plain, mirrored, then both again at each of the eight shifts by ``padding`` pixels.

    Raises:
        ValueError: if there are not that many different ones.

    Source: Carlini et al. 2022 query an image and its mirror image at nine shifts, 18 in all.

    >>> query_views(3, padding=4, mirror=True)
    [(0, 0, False), (0, 0, True), (-4, -4, False)]
    """
    signs = _SHIFT_SIGNS if padding else _SHIFT_SIGNS[:1]
    views = [(padding * y, padding * x, flip) for y, x in signs for flip in ((False, True) if mirror else (False,))]
    if not 1 <= n_queries <= len(views):
        raise ValueError(
            f"n_queries must lie between 1 and {len(views)} with padding {padding} and mirror {mirror}; got {n_queries}"
        )
    return views[:n_queries]


def _stack(picks: list[Picks]) -> Picks:
    """Picks of several models as one, with a leading model axis."""
    return Picks(*(torch.stack(fields) for fields in zip(*picks, strict=True)))
