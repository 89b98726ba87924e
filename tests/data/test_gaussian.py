from pathlib import Path

import pytest
import torch

from lit_privq.data.gaussian import GaussianModes


def test_the_same_arguments_give_the_same_points() -> None:
    one, other = (GaussianModes(seed=3).load(Path(), download=False) for _ in range(2))
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != GaussianModes(seed=4).load(Path(), download=False).fingerprint()


def test_every_mode_is_as_frequent_as_can_be() -> None:
    pool = GaussianModes(modes=3, pool_size=90, test_size=10).load(Path(), download=False)
    assert torch.cat([pool.labels, pool.test_labels]).bincount().tolist() == [34, 33, 33]


def test_points_lie_around_their_centres_with_unit_noise() -> None:
    pool = GaussianModes(modes=2, dimension=16, separation=6.0, pool_size=8000).load(Path(), download=False)
    groups = [pool.inputs[pool.labels == mode] for mode in range(2)]
    for group in groups:
        # 4000 points a mode: standard error of a deviation 1 / sqrt(8000)
        torch.testing.assert_close(group.std(dim=0), torch.ones(16), rtol=0, atol=0.06)
    distance = (groups[0].mean(dim=0) - groups[1].mean(dim=0)).norm().item()
    assert 3 < distance < 10  # 6 in the root mean square over drawn centres


def test_several_modes_may_share_a_class() -> None:
    pool = GaussianModes(modes=6, n_classes=2).load(Path(), download=False)
    assert pool.n_classes == 2
    assert pool.labels.bincount().count_nonzero() == 2


@pytest.mark.parametrize(("modes", "n_classes"), [(1, None), (3, 4), (3, 1)])
def test_classes_must_be_at_least_two_and_at_most_the_modes(modes: int, n_classes: int | None) -> None:
    with pytest.raises(ValueError, match="n_classes must lie between 2 and"):
        GaussianModes(modes=modes, n_classes=n_classes)
