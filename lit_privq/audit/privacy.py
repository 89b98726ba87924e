"""Lower bounds on privacy that the scores of an attack prove, for all examples and for slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import PrivacyBounds
from lit_privq.artifacts.results import ALL, POOL, SLICE
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Masks, parts_of
from lit_privq.metrics import Ranked, Roc, TradeOff, one_run_epsilon, ranked, trade_off_of

_PROVED = TradeOff(np.array([0.0, 1.0]), np.array([1.0, 0.0]))  # of nothing


def privacy_bounds(
    case: Case, scores: NDArray[np.float64], delta: float, slices: Masks, *, drawn: bool
) -> dict[tuple[str, str], PrivacyBounds]:
    """What one attack refutes of each target, by slice and by whose non-members stand against it.

    A bound of a slice compares its members with its own non-members: the training of other examples, which may all be
    hard to tell, is no test of theirs. A slice without non-members of its own, as the calibration examples are, has
    none; one that holds all non-members has its bound by the rule ``pool``.

    Args:
        case: what was attacked.
        scores: (targets, examples).
        delta: of (epsilon, delta) differential privacy.
        slices: (examples,) or (targets, examples) bool by name.
        drawn: whether to keep the trade-off curves of all examples.
    """
    curves: dict[tuple[str, str], list[TradeOff]] = {(ALL, POOL): []}
    one_run: dict[tuple[str, str], list[float]] = {(ALL, POOL): []}
    for row, members in enumerate(case.members):
        seen = ranked(scores[row], members)
        curves[ALL, POOL].append(trade_off_of(seen.curve))
        one_run[ALL, POOL].append(_one_run(case, scores[row], members, delta))
        for (name, against), chosen in _own(slices, seen, row).items():
            curve, examples = chosen
            curves.setdefault((name, against), []).append(_PROVED if curve is None else trade_off_of(curve))
            one_run.setdefault((name, against), []).append(
                _one_run(case, scores[row, examples], members[examples], delta)
            )
    return {
        key: _joined(case, found, one_run[key], delta, drawn=drawn and key == (ALL, POOL))
        for key, found in curves.items()
    }


def _own(slices: Masks, seen: Ranked, row: int) -> Mapping[tuple[str, str], tuple[Roc | None, NDArray[np.intp]]]:
    """Curves and examples of the slices that hold non-members; no curve where they hold no member of this target."""
    others = np.flatnonzero(~seen.members)
    found: dict[tuple[str, str], tuple[Roc | None, NDArray[np.intp]]] = {}
    for part in parts_of(slices, row, seen.members):
        whole = slices[part.name] if slices[part.name].ndim == 1 else slices[part.name][row]
        outside = part.outside if part.outside.size else others[whole[others]]
        if not outside.size:
            continue
        curve = seen.part(part.inside, outside) if part.inside.size else None
        key = part.name, SLICE if part.outside.size else POOL
        found[key] = curve, np.sort(np.concatenate([part.inside, outside]))
    return found


def _one_run(case: Case, scores: NDArray[np.float64], members: NDArray[np.bool_], delta: float) -> float:
    """Where targets are shadows, an example's scores depend on its membership in the others: no such bound."""
    return float("nan") if case.own is not None or scores.size < 2 else one_run_epsilon(scores, members, delta=delta)


def _joined(
    case: Case, curves: Sequence[TradeOff], one_run: Sequence[float], delta: float, *, drawn: bool
) -> PrivacyBounds:
    epsilon = tuple(curve.epsilon(delta) for curve in curves)
    return PrivacyBounds(
        tuple(case.index.tolist()),
        delta,
        epsilon,
        sum(bound > 0 for bound in epsilon),
        tuple(one_run),
        tuple(curve.mu for curve in curves),
        tuple(tuple(curve.alpha.tolist()) for curve in curves) if drawn else (),
        tuple(tuple(curve.beta.tolist()) for curve in curves) if drawn else (),
    )
