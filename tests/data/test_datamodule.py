from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lit_privq.data.batches import BatchIndices, query_views
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.data.digits import Digits


def make(model_index: str = "0", epoch: int = 0, calibrates: bool = False, **options: Any) -> ShadowDataModule:
    defaults = {"n_shadows": 6, "n_targets": 2, "batch_size": 8, "calibration_size": 10, "padding": 2, "mirror": True}
    pool_size = options.pop("pool_size", 61)
    data = ShadowDataModule(Digits(pool_size), model_index=model_index, **{**defaults, **options})
    module = SimpleNamespace(calibrates=calibrates)
    data.trainer = SimpleNamespace(current_epoch=epoch, lightning_module=module, world_size=1)  # type: ignore[assignment]  # all that the loaders look at
    return data


def epoch_of(data: ShadowDataModule, position: int) -> BatchIndices:
    """The batches of one model in an epoch, joined in order."""
    own = []
    for batch in data.member_batches():
        own += [
            BatchIndices(*(f[models.index(position)] for f in chosen)) for models, chosen in batch if position in models
        ]
    return BatchIndices(*(torch.cat(fields) for fields in zip(*own, strict=True)))


def equal(one: BatchIndices, other: BatchIndices) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("pool_size", [60, 61, 64])
def test_a_model_sees_each_of_its_members_exactly_once_an_epoch_and_no_one_else(pool_size: int) -> None:
    data = make("0:8", pool_size=pool_size)
    for model in range(8):
        seen = epoch_of(data, model).indices.numpy()
        assert np.array_equal(np.sort(seen), np.flatnonzero(data.members[model]))


@pytest.mark.parametrize("pool_size", [60, 61])
def test_every_model_takes_the_same_number_of_steps_and_only_ragged_pools_split_them(pool_size: int) -> None:
    data = make("0:8", pool_size=pool_size)
    batches = list(data.member_batches())
    assert len(batches) == len(data.member_batches()) == 4
    assert all(sorted(k for models, _ in batch for k in models) == list(range(8)) for batch in batches)
    sizes = [[chosen.indices.shape[1] for _, chosen in batch] for batch in batches]
    assert sizes == ([[8], [8], [8, 7], [7]] if pool_size == 61 else [[8], [8], [7], [7]])


def test_a_models_epoch_does_not_depend_on_the_fleet_it_is_in() -> None:
    assert equal(epoch_of(make("3"), 0), epoch_of(make("0:8"), 3))
    assert equal(epoch_of(make("3"), 0), epoch_of(make("2:4"), 1))


def test_an_epoch_is_reproducible_and_differs_from_other_epochs_seeds_and_models() -> None:
    first = epoch_of(make("3", epoch=1, seed=5), 0)
    assert equal(first, epoch_of(make("3", epoch=1, seed=5), 0))
    for other in (make("3", epoch=2, seed=5), make("3", epoch=1, seed=6)):
        changed = epoch_of(other, 0)
        assert torch.equal(first.indices.sort().values, changed.indices.sort().values)
        assert not torch.equal(first.indices, changed.indices)
        assert not torch.equal(first.shifts, changed.shifts)
        assert not torch.equal(first.mirrored, changed.mirrored)


def test_membership_depends_on_the_split_seed_and_not_on_the_training_seed() -> None:
    assert np.array_equal(make(seed=1).members, make(seed=2).members)
    assert not np.array_equal(make(split_seed=1).members, make(split_seed=2).members)


def test_shifts_stay_within_the_padding_and_use_all_of_it() -> None:
    chosen = epoch_of(make("0", pool_size=1200, padding=2), 0)
    assert set(chosen.shifts.flatten().tolist()) == {-2, -1, 0, 1, 2}
    assert 0.4 < chosen.mirrored.float().mean() < 0.6
    still = epoch_of(make("0", padding=0, mirror=False, n_queries=1), 0)
    assert not still.shifts.any()
    assert not still.mirrored.any()


def test_calibration_yields_each_models_own_members_unshifted() -> None:
    data = make("2:5")
    (chosen,) = data.calibration_dataloader()
    assert chosen.indices.shape == (3, 10)
    assert not chosen.shifts.any()
    assert not chosen.mirrored.any()
    for position, model in enumerate(range(2, 5)):
        assert data.members[model, chosen.indices[position]].all()
        assert torch.equal(chosen.indices[position], make(str(model), seed=9).calibration(model))


def test_a_calibration_set_larger_than_the_members_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="calibration_size must lie between 1 and the model's 30 training members"):
        make("0", calibration_size=40, pool_size=60, calibrates=True).setup("fit")


def test_a_training_that_never_calibrates_asks_for_no_calibration_set() -> None:
    data = make("0", calibration_size=40, pool_size=60)
    data.setup("fit")
    assert len(data.train_dataloader()) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_shadows": 5}, "n_shadows must be even, .* got 5, use 4 or 6"),
        ({"model_index": "8"}, "model_index must be an index such as 3 .* within 0 to 7"),
        ({"model_index": "4:2"}, "model_index must be an index"),
        ({"n_queries": 19}, "n_queries must lie between 1 and 18"),
        ({"n_queries": 0}, "n_queries must lie between 1 and 18"),
        ({"batch_size": 0}, "batch_size must be at least 1, .* got batch_size 0"),
        ({"padding": -1}, "padding and n_targets at least 0; got .* padding -1"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options).setup("fit")


def test_queries_run_over_pool_and_test_set_in_index_order_view_after_view() -> None:
    data = make("0", n_queries=18)
    for loader, size in zip(data.predict_dataloader(), (61, 1797 - 61), strict=True):
        batches = list(loader)
        assert len(batches) == len(loader)
        indices = torch.cat([batch.indices for batch in batches]).view(18, size)
        assert (indices == torch.arange(size)).all()
        shifts = torch.cat([batch.shifts for batch in batches]).view(18, size, 2)
        mirrored = torch.cat([batch.mirrored for batch in batches]).view(18, size)
        assert (shifts == shifts[:, :1]).all()
        assert (mirrored == mirrored[:, :1]).all()
        views = [(*shifts[q, 0].tolist(), bool(mirrored[q, 0])) for q in range(18)]
        assert views == query_views(18, padding=2, mirror=True)
        assert len(set(views)) == 18


def test_the_root_is_the_option_then_the_environment_then_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make().root == Path("datasets")
    monkeypatch.setenv("LIT_PRIVQ_DATA", "elsewhere")
    assert make().root == Path("elsewhere")
    assert make(root="here").root == Path("here")
