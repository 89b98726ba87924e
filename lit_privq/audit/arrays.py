"""Arrays that lit_privq did not make: an .npz, or a folder of .npy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import map_npy, map_npz
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed, logit_confidence
from lit_privq.audit.case import Case
from lit_privq.audit.folder import Design


def read_arrays(path: Path) -> Observed:
    """Confidences and memberships of models from anywhere.

    Args:
        path: an .npz, or a folder of .npy files, with ``members`` (models, examples) bool and either ``confidence``
            (models, examples, queries) or ``logits`` (models, examples, queries, classes) with ``labels`` (examples,).
            Confidences may leave the query axis out. Labels beside confidences alone may be values: then these are of
            a regression. Uncompressed files are mapped, not loaded.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if an array is missing or does not fit the others; names it.
    """
    arrays = _load(path)
    if "members" not in arrays or not ("confidence" in arrays or {"logits", "labels"} <= arrays.keys()):
        raise ValueError(
            f"{path} must hold members, and confidence or logits and labels; it holds "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    logits, labels = arrays.get("logits"), arrays.get("labels")
    _check_members(arrays["members"])
    if labels is not None:
        _check_labels(labels, arrays["members"].shape[1], "iu" if logits is not None else "iuf")
    if logits is not None:
        _check_logits(logits, arrays["members"])
    confidence = arrays.get("confidence")
    if confidence is None:
        assert logits is not None
        assert labels is not None
        confidence = np.stack([logit_confidence(np.asarray(one), labels) for one in logits])
    if confidence.dtype not in (np.float32, np.float64):
        raise ValueError(f"confidence must be float32 or float64; got {confidence.dtype}; keep it as the model gave it")
    if confidence.ndim == 2:
        confidence = confidence[..., None]
    if confidence.ndim != 3 or not confidence.size:
        raise ValueError(
            f"confidence must be (models, examples, queries), at least one of each; got shape {confidence.shape}"
        )
    if logits is not None and logits.shape[2] != confidence.shape[2]:
        raise ValueError(
            f"logits and confidence must be of the same queries; got {logits.shape[2]} and {confidence.shape[2]}; "
            "leave the confidence out and it is taken from the logits"
        )
    members = np.asarray(arrays["members"])
    return Observed(confidence, members, logits if labels is not None else None, labels)


def array_case(path: Path, observed: Observed, design: Design, targets: Sequence[str] | None) -> Case:
    """The one case of such an input: everything is full precision, nobody knows better.

    Args:
        path: names the data set.
        observed: all models.
        design: held out, with ``targets`` not among the shadows, or leave one out.
        targets: rows or ranges of rows, such as ``["64:74", "3"]``; all by default where each is left out in turn.

    Raises:
        ValueError: if held-out targets are not named, or are no rows of the input, or one trained on all or nothing.
    """
    models = len(observed.members)
    if not targets and design == "held_out":
        raise ValueError(
            f"held-out targets must be named among {models} models, as in --targets {max(models - 10, 1)}:{models}, "
            "or use --design leave_one_out"
        )
    index = parse_rows(targets, models) if targets else np.arange(models)
    _check_targets(observed.members, index)
    empty = tuple(np.zeros(0, np.int64) for _ in index)
    if design == "leave_one_out":
        return Case(path.stem, "", FULL_PRECISION, "unaware", index, observed, None, index, empty)
    rest = np.setdiff1d(np.arange(models), index)
    if not len(rest):
        raise ValueError("held-out targets must leave shadows over; name fewer, or use --design leave_one_out")
    return Case(
        path.stem, "", FULL_PRECISION, "unaware", index, observed.models(rest), observed.models(index), None, empty
    )


def parse_rows(texts: Sequence[str], count: int) -> NDArray[np.int64]:
    """Rows from numbers and half-open ranges.

    >>> parse_rows(["0:3", "5"], 8).tolist()
    [0, 1, 2, 5]
    """
    rows: list[int] = []
    for text in texts:
        try:
            start, colon, stop = text.partition(":")
            span = range(int(start or 0), int(stop or count)) if colon else range(int(text), int(text) + 1)
        except ValueError:
            raise ValueError(f"targets are rows or ranges of rows, such as 64:74 or 3; got {text!r}") from None
        if not len(span) or span.start < 0 or span.stop > count:
            raise ValueError(f"targets must be rows of the input, 0 to {count - 1}; got {text!r}")
        rows += span
    return np.unique(np.array(rows, np.int64))


def _load(path: Path) -> Mapping[str, NDArray[Any]]:
    if path.is_dir():
        return {file.stem: map_npy(file) for file in sorted(path.glob("*.npy"))}
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; give an .npz, a folder of .npy files or a study's confidence folder"
        )
    return map_npz(path)


def _check_members(members: NDArray[Any]) -> None:
    if members.ndim != 2 or not members.size:
        raise ValueError(f"members must be (models, examples), at least one of each; got shape {members.shape}")


def _check_labels(labels: NDArray[Any], examples: int, kinds: str) -> None:
    if labels.dtype.kind not in kinds or labels.shape != (examples,):
        wanted = "integers" if kinds == "iu" else "integers, or floats where they are values"
        raise ValueError(f"labels must be ({examples},) {wanted}; got {labels.dtype} {labels.shape}")
    if len(bad := np.flatnonzero(~np.isfinite(labels))):
        raise ValueError(
            f"labels must be finite; {len(bad)} of {examples} are NaN or infinite, the first is that of example "
            f"{bad[0]}; leave these examples out"
        )


def _check_targets(members: NDArray[np.bool_], index: NDArray[np.int64]) -> None:
    inside = members[index].sum(axis=1)
    for row, count in zip(index.tolist(), inside.tolist(), strict=True):
        if count in (0, members.shape[1]):
            raise ValueError(
                f"every target needs members and non-members among the {members.shape[1]} examples; row {row} has "
                f"{count} members; leave it out of the targets"
            )


def _check_logits(logits: NDArray[Any], members: NDArray[Any]) -> None:
    if logits.ndim != 4 or logits.shape[:2] != members.shape[:2]:
        raise ValueError(
            f"logits must be (models, examples, queries, classes) with the models and examples of members "
            f"{members.shape}; got {logits.shape}"
        )
    if logits.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"logits must be float32 or float64, float16 rounds away what an attack sees; got {logits.dtype}; query "
            "the model again in float32"
        )
    for model, one in enumerate(logits):
        if not np.isfinite(one).all():
            bad = np.flatnonzero(~np.isfinite(one).all(axis=(1, 2)))
            raise ValueError(
                f"logits must be finite; model {model} has NaN or infinity for {bad.size} of {len(one)} examples, the "
                f"first is example {bad[0]}; query the model again in float32, in evaluation mode"
            )
