"""Slices: named sets of examples whose leakage an audit reports by itself, beside that of all members."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import map_npz
from lit_privq.artifacts.results import ALL, CALIBRATION, MOST_VULNERABLE, NOT_CALIBRATION
from lit_privq.attacks import Observed
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Masks
from lit_privq.metrics import leave_one_out_separation, vulnerability

_Sourced = tuple[str, str, NDArray[np.bool_]]  # where a slice comes from, its name, and (examples,)

_BUILT_IN = (ALL, MOST_VULNERABLE, CALIBRATION, NOT_CALIBRATION)


@dataclass(frozen=True)
class Slices:
    """Which slices an audit reports besides those that the data set brings along.

    Args:
        classes: one slice for each class, named ``class_0``, ``class_1``, ...; needs labels.
        most_vulnerable: share of the examples, those that full-precision models give away most; 0 for none.
        file: an .npz of more slices, each a boolean array (examples,) or an array of example numbers.

    Raises:
        ValueError: if the share is not in [0, 1).
    """

    classes: bool = False
    most_vulnerable: float = 0.0
    file: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.most_vulnerable < 1:
            raise ValueError(
                f"slices.most_vulnerable is a share of the examples in [0, 1), 0.01 for 1 %; got {self.most_vulnerable}"
            )

    def masks(self, full: Observed, stored: Masks) -> dict[str, NDArray[np.bool_]]:
        """The slices that are the same for all variants, (examples,) each.

        Args:
            full: full-precision models with labels, where these are known.
            stored: slices that the data set brings along.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a slice is empty, of another length, holds numbers that are no examples, bears a name that
                is taken or no word, or if classes are asked for without labels.
        """
        found: dict[str, NDArray[np.bool_]] = {}
        for source, name, mask in (*_stored(stored), *self._classes(full), *self._filed(full.members.shape[1])):
            if not re.fullmatch(r"[\w.+-]+", name):
                raise ValueError(
                    f"the name of a slice is one word of letters, digits and _ . + -; got {name!r} in {source}"
                )
            if name in (*_BUILT_IN, *found):
                raise ValueError(f"the name {name} is taken by another slice; rename the slice {name} in {source}")
            if not mask.any():
                raise ValueError(f"slice {name} in {source} holds no example; leave it out")
            found[name] = mask
        return found

    def _classes(self, full: Observed) -> Iterator[_Sourced]:
        if not self.classes:
            return
        if full.labels is None or full.values:
            raise ValueError("slices.classes needs labels that are classes; got none, set slices.classes to false")
        for label in np.unique(full.labels):
            yield "slices.classes", f"class_{label}", full.labels == label

    def _filed(self, examples: int) -> Iterator[_Sourced]:
        if self.file is not None:
            if not self.file.is_file():
                raise FileNotFoundError(f"there is no {self.file}; slices.file names an .npz of slices")
            for name, array in map_npz(self.file).items():
                yield str(self.file), name, _mask(self.file, name, array, examples)


def _stored(masks: Masks) -> Iterator[_Sourced]:
    return (("the data set", name, mask) for name, mask in masks.items())


def of_case(case: Case, masks: Masks) -> dict[str, NDArray[np.bool_]]:
    """All slices of one case: the given ones, and the calibration examples of its targets where there are some.

    Given ones are (examples,), or (shadows, examples) where shadows are the targets, of which the case may have a part.

    Calibration examples are members by construction, so that only ``pool`` non-members can stand against them.
    """
    own = {name: mask if mask.ndim == 1 else mask[case.own] for name, mask in masks.items()}
    calibrated = case.calibrated_on
    if not calibrated.any():
        return own
    return {**own, CALIBRATION: calibrated, NOT_CALIBRATION: ~calibrated}


def most_vulnerable(models: Observed, share: float, *, judged: bool) -> NDArray[np.bool_] | None:
    """The examples that full-precision models give away most, chosen on other models than the one that is judged.

    Args:
        models: full-precision shadows.
        share: of the examples, at least one.
        judged: whether these models are themselves the targets. Then each is judged on examples chosen by all others.

    Returns:
        (examples,) bool, or (models, examples) where they are judged; None where there are too few models to choose by.
    """
    if min(models.members.sum(0).min(), (~models.members).sum(0).min()) < 2 + judged:
        return None
    if judged:
        separation = leave_one_out_separation(models.confidence, models.members)
    else:
        separation = vulnerability(models.confidence, models.members).separation[None]
    chosen = np.argsort(-separation, axis=1, kind="stable")[:, : max(1, round(share * separation.shape[1]))]
    mask = np.zeros(separation.shape, bool)
    np.put_along_axis(mask, chosen, values=True, axis=1)
    return mask if judged else mask[0]


def _mask(file: Path, name: str, array: NDArray[Any], examples: int) -> NDArray[np.bool_]:
    """A slice given as booleans, or as numbers of examples."""
    where = f"slice {name} in {file}"
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise ValueError(
            f"{where} must be ({examples},) booleans, or numbers of examples; got {array.dtype} {array.shape}"
        )
    if array.dtype.kind == "b":
        if array.size != examples:
            raise ValueError(f"{where} must hold one boolean for each of {examples} examples; got {array.size}")
        mask = np.array(array)
    else:
        bad = array[(array < 0) | (array >= examples)]
        if bad.size:
            raise ValueError(f"{where} must hold numbers of examples in [0, {examples}); got {bad[0]}")
        mask = np.zeros(examples, bool)
        mask[array] = True
    return mask
