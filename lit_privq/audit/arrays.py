"""Arrays that lit_privq did not make: an .npz, or a folder of .npy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import map_npy, map_npz, npz_names
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed, logit_confidence
from lit_privq.audit.case import Case
from lit_privq.audit.folder import Design
from lit_privq.audit.plausible import contradiction
from lit_privq.metrics.members import as_members

_NAMES = ("members", "confidence", "logits", "labels", "values")
_OURS = ("scores.npz", "vulnerability.npz")  # what an earlier audit may have written into the folder of its input
_ABSENT = "there is no {}; give an .npz, a folder of .npy files or a study's confidence folder"


def find_study(path: Path) -> Path | None:
    """The folder of a study's dumps, if this is one or holds one; a folder of .npy files never is.

    Dumps lie one level below and are named by numbers, so that an audit's own output below does not look like them.
    """
    for candidate in (path, path / "confidence"):
        if candidate.is_dir() and any(candidate.glob("*/[0-9][0-9][0-9]*.npz")) and not any(candidate.glob("*.npy")):
            return candidate
    return None


def read_arrays(path: Path) -> tuple[Observed, list[str]]:
    """Confidences and memberships of models from anywhere.

    Forms that can mean only one thing are taken too: members and binary labels as 0 and 1, one-hot labels, logits of
    one query without a query axis, one logit for two classes, any order of bytes, a folder that holds one .npz.

    Args:
        path: an .npz, or a folder of .npy files, with ``members`` (models, examples) bool and either ``confidence``
            (models, examples, queries) or ``logits`` (models, examples, queries, classes) with ``labels`` (examples,).
            Confidences may leave the query axis out. Labels beside confidences alone may be the values of a regression,
            under the name ``values`` where all are whole. Uncompressed files are mapped, not loaded.

    Returns:
        The models, and sentences on what was taken otherwise than written.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if an array is missing or does not fit the others; names it.
    """
    arrays, notes = _load(path)
    if "members" not in arrays or not _attackable(arrays):
        raise ValueError(
            f"{path} must hold members, and confidence or logits and labels; it holds "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    members = _checked_members(arrays["members"])
    logits = _native(arrays.get("logits"))
    labels = _labels(arrays, members.shape[1], notes)
    if logits is not None and labels is not None:
        logits = _four_axes(logits, labels, members, notes)
        _check_logits(logits, members)
    confidence = _native(arrays.get("confidence"))
    if confidence is None:
        assert logits is not None
        assert labels is not None
        confidence = np.stack([logit_confidence(np.asarray(one), labels) for one in logits])
    _check_confidence(confidence)
    models = Observed(confidence, members, logits if labels is not None else None, labels)
    if "confidence" in arrays and models.logits is not None:
        _check_queries(models)
        notes += contradiction(models)
    return models, notes


def array_case(path: Path, observed: Observed, design: Design, targets: Sequence[str] | None) -> Case:
    """The one case of such an input: all models are taken as full precision, and the attacker as unaware.

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
    make = partial(Case, path.stem, "", FULL_PRECISION, "unaware", index)
    empty = tuple(np.zeros(0, np.int64) for _ in index)
    if design == "leave_one_out":
        return make(observed, None, index, empty)
    rest = np.setdiff1d(np.arange(models), index)
    if not len(rest):
        raise ValueError("held-out targets must leave shadows over; name fewer, or use --design leave_one_out")
    return make(observed.models(rest), observed.models(index), None, empty)


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


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays whose names are known, and a note on the others."""
    if not path.exists():
        raise FileNotFoundError(_ABSENT.format(path))
    read: Callable[[list[str]], Mapping[str, NDArray[Any]]]
    if path.is_dir() and (files := {file.stem: file for file in sorted(path.glob("*.npy"))}):
        found, read = list(files), lambda names: {name: map_npy(files[name]) for name in names}
    else:
        archive = _only_npz(path) if path.is_dir() else path
        found, read = npz_names(archive), partial(map_npz, archive)
    known = [name for name in found if name in _NAMES]
    ignored = [name for name in found if name not in _NAMES]
    notes = [f"ignored, as an audit takes no array of that name: {', '.join(ignored)}"] if ignored else []
    return dict(read(known)), notes


def _only_npz(folder: Path) -> Path:
    found = [file for file in sorted(folder.glob("*.npz")) if file.name not in _OURS]
    if len(found) != 1:
        raise ValueError(
            f"{folder} must hold .npy files, or one .npz; it holds {len(found)} .npz files"
            f"{': ' * bool(found)}{', '.join(file.name for file in found[:5])}; name one of them as --input"
        )
    return found[0]


def _attackable(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether confidences are there or can be computed."""
    return "confidence" in arrays or {"logits", "labels"} <= arrays.keys()


def _native(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """The same values in this machine's order of bytes."""
    if array is None or array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def _checked_members(members: NDArray[Any]) -> NDArray[np.bool_]:
    if members.ndim != 2 or not members.size:
        raise ValueError(f"members must be (models, examples), at least one of each; got shape {members.shape}")
    return as_members(members)


def _labels(arrays: Mapping[str, NDArray[Any]], examples: int, notes: list[str]) -> NDArray[Any] | None:
    """Classes (examples,) as integers, or values as floats; None where there are neither."""
    if "values" in arrays and "labels" in arrays:
        raise ValueError("labels are classes and values are a regression's; got both; leave one of them out")
    if "values" in arrays:
        return _checked_labels(np.asarray(_native(arrays["values"]), np.float64), examples, "iuf")
    if "labels" not in arrays:
        return None
    labels = np.asarray(_native(arrays["labels"]))
    if labels.shape == (examples, 1):
        labels = labels[:, 0]
    if _one_hot(labels, examples):
        notes.append(f"labels are one-hot, (examples, {labels.shape[1]}); taken as the place of the 1 in each row")
        labels = labels.argmax(axis=1)
    if labels.dtype == np.bool_:
        labels = labels.astype(np.int64)
    labels = _checked_labels(labels, examples, "iu" if "logits" in arrays else "iuf")
    if labels.dtype.kind == "f" and (labels == np.round(labels)).all():
        raise ValueError(
            "labels are whole numbers kept as floats, which may be classes or the values of a regression; got "
            f"{labels.dtype}; keep classes as integers, or name the array values"
        )
    return labels


def _one_hot(labels: NDArray[Any], examples: int) -> bool:
    if labels.ndim != 2 or len(labels) != examples or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return False
    return bool((((labels == 0) | (labels == 1)).all()) and (labels.sum(axis=1) == 1).all())


def _checked_labels(labels: NDArray[Any], examples: int, kinds: str) -> NDArray[Any]:
    if labels.dtype.kind not in kinds or labels.shape != (examples,):
        wanted = "integers" if kinds == "iu" else "integers, or floats where they are values"
        raise ValueError(f"labels must be ({examples},) {wanted}; got {labels.dtype} {labels.shape}")
    if len(bad := np.flatnonzero(~np.isfinite(labels))):
        raise ValueError(
            f"labels must be finite; {len(bad)} of {examples} are NaN or infinite, the first is that of example "
            f"{bad[0]}; leave these examples out"
        )
    return labels


def _four_axes(
    logits: NDArray[Any], labels: NDArray[Any], members: NDArray[np.bool_], notes: list[str]
) -> NDArray[Any]:
    """Logits as (models, examples, queries, classes), where their shape can mean only one thing."""
    binary = set(np.unique(labels).tolist()) <= {0, 1}
    if logits.shape == members.shape and binary:
        logits = logits[..., None, None]
    elif logits.ndim == 3 and logits.shape[:2] == members.shape:
        logits = logits[:, :, None]
    if logits.ndim == 4 and logits.shape[-1] == 1 and binary:
        notes.append("logits have one output for two classes; taken as the log-odds of class 1")
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    return logits


def _check_targets(members: NDArray[np.bool_], index: NDArray[np.int64]) -> None:
    inside = members[index].sum(axis=1)
    for row, count in zip(index.tolist(), inside.tolist(), strict=True):
        if count in (0, members.shape[1]):
            raise ValueError(
                f"every target needs members and non-members among the {members.shape[1]} examples; row {row} has "
                f"{count} members; leave it out of the targets"
            )


def _check_confidence(confidence: NDArray[Any]) -> None:
    if confidence.dtype not in (np.float32, np.float64):
        raise ValueError(f"confidence must be float32 or float64; got {confidence.dtype}; keep it as the model gave it")
    if confidence.ndim not in (2, 3) or not confidence.size:
        raise ValueError(
            f"confidence must be (models, examples, queries), at least one of each; got shape {confidence.shape}"
        )


def _check_queries(models: Observed) -> None:
    assert models.logits is not None
    if (of_logits := models.logits[0].shape[1]) != models.queries:
        raise ValueError(
            f"logits and confidence must be of the same queries; got {of_logits} and {models.queries}; "
            "leave the confidence out and it is taken from the logits"
        )


def _check_logits(logits: NDArray[Any], members: NDArray[np.bool_]) -> None:
    if logits.ndim != 4 or logits.shape[:2] != members.shape:
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
