from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import LiRAJoint, LiRAOnline, Observed, Shrunk, score_held_out
from lit_privq.audit.holding import Holding
from lit_privq.metrics import auc, roc

EXAMPLES, SHADOWS = 600, 24
ATTACK = LiRAJoint(variance=Shrunk())


def family(gaps: dict[str, float], noise: float, targets: int, seed: int = 0) -> tuple[dict[str, Observed], int]:
    """Versions of the same models: what they share, and each with its own gap and noise."""
    rng = np.random.default_rng(seed)
    balanced = np.argsort(rng.random((SHADOWS, EXAMPLES)), axis=0) < SHADOWS // 2
    members = np.vstack([balanced, rng.random((targets, EXAMPLES)) < 0.5])
    shared = rng.normal(size=members.shape)
    versions = {
        name: Observed(shared + gap * members + noise * rng.normal(size=members.shape), members)
        for name, gap in gaps.items()
    }
    return versions, SHADOWS


def held_out(versions: dict[str, Observed]) -> Holding:
    rest = range(SHADOWS, len(next(iter(versions.values())).members))
    return Holding({name: (one.models(range(SHADOWS)), one.models(rest)) for name, one in versions.items()}, None)


def left_out(versions: dict[str, Observed]) -> Holding:
    return Holding(
        {name: (one.models(range(SHADOWS)), one.models(range(SHADOWS))) for name, one in versions.items()},
        np.arange(SHADOWS),
    )


def areas(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array([float(auc(roc(row, inside))) for row, inside in zip(scores, members, strict=True)])


@pytest.mark.parametrize("make", [held_out, left_out])
def test_who_holds_more_is_no_weaker_than_the_strongest_version_alone(make) -> None:  # noqa: ANN001
    holding = make(family({"target": 0.3, "parent": 1.5}, noise=0.5, targets=8)[0])
    scores, _ = holding.scores(ATTACK)
    members = holding.versions["parent"][1].members
    alone = max(areas(holding._targets(ATTACK, (name,)), members).mean() for name in holding.versions)
    found = areas(scores, members)
    assert found.mean() >= alone - 2 * found.std(ddof=1) / np.sqrt(found.size)


def test_a_version_that_tells_nothing_more_is_left_aside() -> None:
    versions, _ = family({"parent": 1.5}, noise=0.0, targets=4)
    rng, parent = np.random.default_rng(9), versions["parent"]
    versions["noise"] = Observed(rng.normal(size=np.shape(parent.confidence)), parent.members)
    _, chosen = held_out(versions).scores(ATTACK)
    assert set(chosen) <= {("parent",), ("parent", "noise")}


def test_two_versions_with_noise_of_their_own_are_used_together() -> None:
    holding = held_out(family({"4": 1.0, "2": 1.0}, noise=2.0, targets=4)[0])
    scores, chosen = holding.scores(ATTACK)
    assert set(chosen) == {("4", "2")}
    members = holding.versions["4"][1].members
    assert areas(scores, members).mean() > areas(holding._targets(ATTACK, ("4",)), members).mean()


@pytest.mark.parametrize("make", [held_out, left_out])
def test_noise_tells_nothing_though_the_best_subset_is_chosen(make) -> None:  # noqa: ANN001
    found = []
    for seed in range(12):
        holding = make(family({"4": 0.0, "2": 0.0, "1": 0.0}, noise=1.0, targets=6, seed=seed)[0])
        found.append(areas(holding.scores(ATTACK)[0], holding.versions["4"][1].members).mean())
    assert abs(np.mean(found) - 0.5) < 3 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_a_single_version_is_attacked_as_alone() -> None:
    holding = held_out(family({"4": 1.0}, noise=1.0, targets=3)[0])
    shadows, targets = holding.versions["4"]
    expected = score_held_out({"a": LiRAOnline(variance=Shrunk())}, shadows, targets)["a"]
    np.testing.assert_array_equal(holding.scores(ATTACK)[0], expected)
