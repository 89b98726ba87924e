"""Scores of attacks on targets that are held out from the shadows, or on every shadow in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Trial
from lit_privq.attacks.group import Array
from lit_privq.attacks.observed import Observed


def score_held_out(
    attacks: Mapping[str, Attack],
    shadows: Observed,
    targets: Observed,
    *,
    versions: Sequence[tuple[Observed, Observed]] = (),
    equal_groups: bool = False,
    block: int | None = None,
) -> dict[str, Array]:
    """Attack targets that are not among the shadows.

    The number of shadows that trained on an example is independent of a target drawn apart from them, so all are used.

    Args:
        attacks: by the name under which their scores are wanted.
        shadows: M models, each example in the training set of some of them and not of others.
        targets: T models on the same examples.
        versions: other versions of shadows and targets, such as the models from which they were derived, in the same
            order, for the joint attack.
        equal_groups: cut every example's groups to the poorest example's, in model order, as the public reference does
            and leave-one-out must.
        block: examples held in memory at a time; the scores do not depend on it.

    Returns:
        (targets, examples) scores by name, larger means more likely a member.

    Raises:
        ValueError: if the pools differ, versions do not have the same members, or too few shadows trained (or
            did not train) on some example.

    >>> from lit_privq.attacks.lira import LiRAOnline, PerExample
    >>> confidence = np.array([3.0, 3.2, 0.9, 1.1, 3.1]).reshape(5, 1, 1)
    >>> models = Observed(confidence, np.array([[True], [True], [False], [False], [True]]))
    >>> shadows, targets = models.models([0, 1, 2, 3]), models.models([4])
    >>> score_held_out({"lira": LiRAOnline(variance=PerExample())}, shadows, targets)["lira"].round(6)
    array([[220.5]])
    """
    _check_pool("targets", targets, shadows)
    for pair in versions:
        _check_version(pair, shadows, targets.members)
    inside, outside = _group_sizes(shadows.members)
    if equal_groups:
        inside, outside = np.full_like(inside, inside.min()), np.full_like(outside, outside.min())
    others = tuple(Trial(*pair, None, inside, outside) for pair in versions)
    trial = Trial(shadows, targets, None, inside, outside, others)
    scores = _empty(attacks, len(targets.members), trial.examples)
    _score(attacks, trial, block, scores, np.arange(len(targets.members)))
    return {name: attack.finish(scores[name]) for name, attack in attacks.items()}


def score_leave_one_out(
    attacks: Mapping[str, Attack],
    shadows: Observed,
    own: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    *,
    targets: Observed | None = None,
    versions: Sequence[tuple[Observed, Observed | None]] = (),
    block: int | None = None,
) -> dict[str, Array]:
    """Attack shadows with the other shadows, all in one pass.

    A target's own confidence is hidden from it, and so is one value of the example's other group: groups of unequal
    size would tell by their sizes alone whether the target trained on the example.

    Args:
        attacks: by the name under which their scores are wanted.
        shadows: M models.
        own: (targets,) the shadows that are targets; all of them by default.
        targets: models derived from those of ``own``, attacked in their place with shadows of the original kind.
        versions: as in :func:`score_held_out`, of shadows and of targets; None where the targets are the shadows.
        block: examples held in memory at a time.

    Returns:
        (targets, examples) scores by name, larger means more likely a member.

    Raises:
        ValueError: as :func:`score_held_out`, or if ``targets`` are not as many as ``own`` or have other members.
    """
    rows = np.arange(len(shadows.members)) if own is None else np.asarray(own, np.intp)
    members = shadows.members[rows]
    if targets is not None:
        _check_pool("targets", targets, shadows)
        _check_members("targets", targets, members)
    for pair in versions:
        _check_version(pair, shadows, members)
    inside, outside = _group_sizes(shadows.members)
    # What the poorest example can offer each target; the same for all of them where the mask is balanced.
    insides = inside.min() - members[:, inside == inside.min()].any(axis=1)
    outsides = outside.min() - (~members[:, outside == outside.min()]).any(axis=1)
    scores = _empty(attacks, *members.shape)
    for least in sorted(set(zip(insides.tolist(), outsides.tolist(), strict=True))):
        chosen = np.flatnonzero((insides == least[0]) & (outsides == least[1]))
        sizes = np.full_like(inside, least[0]), np.full_like(outside, least[1])
        some = None if targets is None else targets.models(chosen)
        others = tuple(
            Trial(other, None if attacked is None else attacked.models(chosen), rows[chosen], *sizes)
            for other, attacked in versions
        )
        trial = Trial(shadows, some, rows[chosen], *sizes, others)
        _score(attacks, trial, block, scores, chosen)
    return {name: attack.finish(scores[name]) for name, attack in attacks.items()}


def _empty(attacks: Mapping[str, Attack], targets: int, examples: int) -> dict[str, Array]:
    return {name: np.empty((targets, examples)) for name in attacks}


def _group_sizes(members: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many shadows trained, and did not train, on each example, each (examples,)."""
    inside = members.sum(axis=0)
    for count, word in ((inside, "trained"), (len(members) - inside, "did not train")):
        if (empty := np.flatnonzero(count == 0)).size:
            raise ValueError(
                f"every example needs shadows that trained on it and shadows that did not; for {empty.size} examples, "
                f"the first is {empty[0]}, there is none that {word}; add shadows or leave these examples out"
            )
    return inside, len(members) - inside


def _check_pool(which: str, models: Observed, shadows: Observed) -> None:
    (_, examples), (_, others) = shadows.members.shape, models.members.shape
    if (others, models.queries) != (examples, shadows.queries):
        raise ValueError(
            f"{which} and shadows must be queried on the same examples and as often; got {others} and {examples} "
            f"examples, {models.queries} and {shadows.queries} queries; query both alike"
        )


def _check_members(which: str, models: Observed, members: NDArray[np.bool_]) -> None:
    if len(models.members) != len(members):
        raise ValueError(
            f"{which} must be {len(members)} models, one beside each they belong to; got {len(models.members)}; give "
            "them in the same order"
        )
    if (bad := np.flatnonzero((models.members != members).any(axis=1))).size:
        raise ValueError(
            f"{which} must have the members of those they belong to; {bad.size} of {len(members)} do not, the first is "
            f"number {bad[0]}; give them in the same order"
        )


def _check_version(version: tuple[Observed, Observed | None], shadows: Observed, members: NDArray[np.bool_]) -> None:
    """Another version against the shadows, and the members of the targets."""
    for which, models, of in (
        ("versions of shadows", version[0], shadows.members),
        ("versions of targets", version[1], members),
    ):
        if models is not None:
            _check_pool(which, models, shadows)
            _check_members(which, models, of)


def _score(
    attacks: Mapping[str, Attack],
    trial: Trial,
    block: int | None,
    scores: Mapping[str, Array],
    targets: NDArray[np.intp],
) -> None:
    """Fill in the scores of one trial's targets, a block of examples after the other."""
    inside, outside = trial.inside.min(), trial.outside.min()
    for name, attack in attacks.items():
        if attack.needs_classes and trial.shadows.values:
            raise ValueError(
                f"{name} compares probabilities of classes, and these labels are values of a regression; leave it out, "
                "LiRA and the threshold take any confidence"
            )
        if min(inside, outside) < attack.min_shadows:
            raise ValueError(
                f"{name} needs at least {attack.min_shadows} shadows that trained on each example and as many that did "
                f"not; the poorest example leaves {inside} and {outside}; use more shadows"
            )
    for evidence in trial.blocks(block):
        for name, attack in attacks.items():
            scores[name][targets, evidence.rows] = attack.score(evidence)
