"""How much the runs of a variant differ, and by what: training, calibration examples, seed of the quantizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import Draws, Focus, Measures, Rate
from lit_privq.artifacts.results import Key, Results
from lit_privq.artifacts.variant import SEEDS_PER_DRAW, Variant
from lit_privq.metrics import Estimate, variance_components

_LEAST = 4  # targets for a test of their modes


def with_draws(measures: Measures, results: Results) -> Measures:
    """The conclusions with the spread of variants that were quantized several times; as they are where none was."""
    found = [
        _draws(variant, metric, values)
        for variant in results.variants
        for metric, values in _runs(variant, measures.focus, results)
    ]
    return replace(measures, draws=tuple(found)) if found else measures


def runs(results: Results, key: Key) -> NDArray[np.float64]:
    """A number of every run of a variant, (targets, repeats); NaN where it was not measured.

    Args:
        results: of the audit.
        key: of the first draw.
    """
    repeats = [key, *(key._replace(variant=one) for one in results.repeats if one.first == key.variant)]
    cells = [results.series.get(each, {}) for each in repeats]
    targets = list(cells[0])
    return np.array([[each[target].value if target in each else np.nan for each in cells] for target in targets])


def _runs(variant: Variant, focus: Focus, results: Results) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Utility and leakage of a variant that was repeated, by metric, (targets, draws, seeds)."""
    for key in (Key(variant, focus.utility), focus.key(variant)):
        values = runs(results, key)
        if values.ndim == 2 and values.shape[1] > 1 and np.isfinite(values).all():
            draws = values.shape[1] // SEEDS_PER_DRAW
            yield key.metric, values[:, : draws * SEEDS_PER_DRAW].reshape(len(values), draws, SEEDS_PER_DRAW)


def _draws(variant: Variant, metric: str, values: NDArray[np.float64]) -> Draws:
    targets, draws, seeds = values.shape
    found = variance_components(values)
    training, calibration, seed = (_deviation(one) for one in (found.training, found.calibration, found.seed))
    dip, p = _dip(values)
    return Draws(
        variant.name, metric, targets, draws * seeds, float(values.mean()), training, calibration, seed, dip, p
    )


def _deviation(variance: Estimate) -> Rate:
    return Rate(*(sqrt(each) for each in (variance.value, variance.low, variance.high)))


def _dip(values: NDArray[np.float64]) -> tuple[float, float]:
    """Hartigan's dip of one run of each target, median over repeats, and its p-value; NaN for too few or equal runs.

    Runs of one target are alike, and taking them for independent ones finds clusters where there are none. So every
    repeat is tested by itself; of the R p-values, which depend on each other, the k-th smallest times R / k holds.

    Source: Hartigan and Hartigan, The Dip Test of Unimodality, Ann. Statist. 13 (1985); for the joint p-value Rueger,
    Das maximale Signifikanzniveau des Tests "Lehne H0 ab, wenn k unter n gegebenen Tests zur Ablehnung fuehren",
    Metrika 25 (1978).
    """
    columns = values.reshape(len(values), -1).T  # (repeats, targets)
    if len(values) < _LEAST or (np.ptp(columns, axis=1) == 0).any():
        return float("nan"), float("nan")
    import diptest  # here: compiled, and only studies with repeats need it

    dips, p = zip(*(diptest.diptest(np.ascontiguousarray(column)) for column in columns), strict=True)
    middle = (len(p) + 1) // 2
    return float(np.median(dips)), min(1.0, sorted(p)[middle - 1] * len(p) / middle)
