"""LightningDataModule whose loaders respect the half-membership split."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from lit_privq.artifacts.construction import plain
from lit_privq.data.batches import (
    BatchIndices,
    BatchMaker,
    CalibrationBatch,
    FleetBatch,
    MemberBatches,
    OrderedBatches,
    query_views,
)
from lit_privq.data.membership import Bools, calibration_indices, parse_models, study_membership
from lit_privq.data.pool import Pool, Source
from lit_privq.data.reading import read
from lit_privq.data.task import Task


class ShadowDataModule(L.LightningDataModule):
    """The pool, the split and the loaders of one shadow model or target, or of a fleet of them.

    Every example trains exactly half of the shadow models, every shadow model trains on half of the pool, and
    held-out targets have independent halves. The set is kept as uint8 on the model's device and batches are made there.

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
        self.save_hyperparameters(plain(dict(self.hparams)))  # the data set as text, for loggers and checkpoints
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
        self._batch_makers: dict[tuple[str, torch.device], BatchMaker] = {}

    @cached_property
    def pool(self) -> Pool:
        """The data set, read once.

        Raises:
            ValueError: if what are no images are to be shifted or mirrored.
        """
        pool = read(self.dataset, self.root, self.download)
        if pool.inputs.dtype != torch.uint8 and (self.padding or self.mirror):
            raise ValueError(
                f"only images are shifted and mirrored; examples of {pool.name} are float32 features "
                f"{tuple(pool.inputs.shape[1:])}, got padding {self.padding} and mirror {self.mirror}, "
                "set data.padding 0 and data.mirror false"
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
        """Read the data and check that the split and needed calibration sets exist, before anything else is made.

        Raises:
            ValueError: if there are several devices, or fewer members than a calibration set needs.
        """
        assert self.trainer is not None
        check_one_device(self.trainer)
        if stage == "fit" and self._calibrates:
            for model in self.models:
                self.calibration(model)
        _ = self.members

    @property
    def _calibrates(self) -> bool:
        """Whether the module at work quantizes: a training needs no calibration set, so none is asked for."""
        assert self.trainer is not None
        return bool(getattr(self.trainer.lightning_module, "calibrates", False))

    @property
    def _draw(self) -> int:
        """Which of several calibration sets the module at work asks for: those of repeats differ."""
        return int(getattr(self.trainer.lightning_module, "calibration_draw", 0)) if self.trainer else 0

    def calibration(self, model: int) -> Tensor:
        """Pool indices of a model's calibration set, (calibration_size,), all of them its own members."""
        chosen = calibration_indices(self.members[model], self.calibration_size, self.split_seed, model, self._draw)
        assert self.members[model, chosen].all(), "calibration examples must be members"
        return torch.from_numpy(chosen)

    def augmentation(self, indices: Tensor, generator: torch.Generator | None) -> BatchIndices:
        """These examples, (batch,), shifted and mirrored at random as in training; as they are without a generator."""
        size = (len(indices), 2)
        if generator is None:
            shifts = torch.zeros(size, dtype=torch.int64, device=indices.device)
            return BatchIndices(indices, shifts, shifts[:, 0].bool())
        device = indices.device
        shifts = torch.randint(-self.padding, self.padding + 1, size, generator=generator, device=device)
        chance = torch.rand(len(indices), generator=generator, device=device)
        return BatchIndices(indices, shifts, chance < (0.5 if self.mirror else 0.0))

    def train_dataloader(self) -> MemberBatches | CalibrationBatch:
        """Members only: in each model's own order for a training, the calibration sets for a `Calibration`."""
        assert self.trainer is not None
        return self.calibration_dataloader() if self._calibrates else self.member_batches()

    def member_batches(self) -> MemberBatches:
        """An epoch's training batches of these models, outside a training those of the first epoch."""

        def epoch() -> int:
            return int(self.trainer.current_epoch) if self.trainer else 0

        dp_sgd = getattr(self.trainer and self.trainer.lightning_module, "dp_sgd", None)
        return MemberBatches(
            self.members, self.models, self.seed, self.batch_size, self.padding, self.mirror, epoch,
            sampling=dp_sgd.sampling if dp_sgd else "shuffled", padded=dp_sgd is not None,
        )  # fmt: skip

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
        self, batch: BatchIndices | list[tuple[tuple[int, ...], BatchIndices]], dataloader_idx: int
    ) -> tuple[Tensor, Tensor] | list[FleetBatch]:
        """Make the batches whose indices Lightning has moved to the device, in the trainer's precision."""
        assert self.trainer is not None
        convert = self.trainer.precision_plugin.convert_input
        if isinstance(batch, BatchIndices):
            on_test = not self.trainer.training and (not self.trainer.predicting or dataloader_idx == 1)
            inputs, labels = self.batch_maker("test" if on_test else "pool", batch.indices.device).batch(batch)
            return convert(inputs), labels
        batches = []
        for models, chosen in batch:
            inputs, labels = self.batch_maker("pool", chosen.indices.device).batch(chosen)
            batches.append(FleetBatch(models, convert(inputs), labels, chosen.indices >= 0))
        return batches if self.fleet else (batches[0].inputs[0], batches[0].labels[0])

    def batch_maker(self, part: str, device: torch.device) -> BatchMaker:
        """The pool or the test set on a device, moved there once."""
        if (part, device) not in self._batch_makers:
            pool = self.pool
            data = (pool.inputs, pool.labels) if part == "pool" else (pool.test_inputs, pool.test_labels)
            self._batch_makers[part, device] = BatchMaker(*data, pool.mean, pool.std, self.padding, device)
        return self._batch_makers[part, device]


class ShadowModule(L.LightningModule):
    """A module that trains, calibrates or queries the models its data module names."""

    @property
    def data(self) -> ShadowDataModule:
        """The data module that feeds this module."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Trainer sets it without declaring it
        if not isinstance(data, ShadowDataModule):
            raise ValueError(
                f"{type(self).__name__} needs a ShadowDataModule, which says who trains on what; got "
                f"{type(data).__name__}, call trainer.fit(model, ShadowDataModule(...))"
            )
        return data

    @property
    def task(self) -> Task:
        """What the models are for, as the labels of their pool tell."""
        return self.data.pool.task


def check_one_device(trainer: L.Trainer) -> None:
    """Refuse several devices, which Lightning would have do the same work.

    Raises:
        ValueError: naming how models are trained side by side.
    """
    if trainer.world_size > 1:
        raise ValueError(
            f"models are independent, so a command runs on one device; got {trainer.world_size}, set trainer.devices 1 "
            "and take several models at once with --data.model_index 0:16, or run a study with --jobs"
        )


def is_trial(trainer: L.Trainer) -> bool:
    """Whether a run only tries whether everything works, with a step of each kind: it must leave nothing behind."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set without being declared


def takes_all(limit: float) -> bool:
    """Whether ``limit_..._batches`` of a trainer leaves nothing out: 1.0 is everything, 1 a single batch."""
    return isinstance(limit, float) and limit == 1.0
