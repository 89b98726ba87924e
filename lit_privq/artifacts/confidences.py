"""Confidences on disk: one uncompressed .npz per model, checked when written and read, mapped rather than loaded."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write
from lit_privq.artifacts.mapped import map_bytes

_SLICE = "slice_"  # before the name of a slice's array
_NUMBERS = ("index", "bits", "last_bits", "n_shadows", "n_targets", "split_seed", "n_queries")
_DAMAGED = (ValueError, TypeError, OverflowError, EOFError, TokenError)  # what NumPy raises at a broken .npy
_META = ("dataset", "net", "fingerprint", "method", "size_bytes", *_NUMBERS)


@dataclass(frozen=True)
class Dump:
    """One model's confidences on the pool and the test set.

    Args:
        confidence: (examples, queries) float32, row n is example n of the pool: log-odds of its class in nats, or
            minus the squared error of its value.
        labels: (examples,) int64 classes, or float32 values of a regression.
        members: (examples,) bool, this model's training members.
        calibration: (k,) int64 rows of the pool; empty for a full-precision model.
        test_confidence: (test examples, queries) float32.
        test_correct: (test examples,), of the first query: bool, whether the class is right; or float32, 1 - squared
            error / variance of the test set's values. Its mean is the accuracy, or R squared.
        meta: provenance: dataset, net, fingerprint (of the pool), index, method, bits, last_bits, size_bytes,
            n_shadows, n_targets, split_seed, n_queries.
        logits: (examples, queries, classes) float32, or None.
        test_labels: (test examples,) int64 classes, or None.
        slices: named sets of pool examples, each (examples,) bool.

    Raises:
        ValueError: if an array has the wrong shape or type, holds NaN or infinity, or calibration leaves the members.
    """

    confidence: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    members: NDArray[np.bool_]
    calibration: NDArray[np.int64]
    test_confidence: NDArray[np.float32]
    test_correct: NDArray[np.bool_] | NDArray[np.float32]
    meta: Mapping[str, Any]
    logits: NDArray[np.float32] | None = None
    test_labels: NDArray[np.int64] | None = None
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [key for key in _META if key not in self.meta]
        if missing:
            raise ValueError(f"meta must hold {', '.join(_META)}; {', '.join(missing)} missing")
        examples, queries = len(self.labels), int(self.meta["n_queries"])
        tests = len(self.test_correct)
        _check("confidence", self.confidence, np.float32, (examples, queries))
        _check("labels", self.labels, np.float32 if self.values else np.int64, (examples,))
        _check("members", self.members, np.bool_, (examples,))
        _check("calibration", self.calibration, np.int64, (len(self.calibration),))
        _check("test_confidence", self.test_confidence, np.float32, (tests, queries))
        _check("test_correct", self.test_correct, np.float32 if self.values else np.bool_, (tests,))
        if self.logits is not None:
            _check("logits", self.logits, np.float32, (examples, queries, self.logits.shape[-1]))
        if self.test_labels is not None:
            _check("test_labels", self.test_labels, np.int64, (tests,))
        for name, mask in self.slices.items():
            _check(f"slice {name}", mask, np.bool_, (examples,))
        outside = self.calibration[(self.calibration < 0) | (self.calibration >= examples)]
        if not len(outside):
            outside = self.calibration[~self.members[self.calibration]]
        if len(outside):
            raise ValueError(
                f"calibration must lie within the model's own members; {len(outside)} of {len(self.calibration)} "
                f"examples do not, the first is {outside[0]}; quantize the model again with its own members"
            )

    @property
    def values(self) -> bool:
        """Whether labels are values, of a regression, instead of classes."""
        return self.labels.dtype == np.float32

    @property
    def utility(self) -> dict[str, float]:
        """How good the model is on the test set, by metric of results.csv; nothing where there is none."""
        if not len(self.test_correct):
            return {}
        mean = float(self.test_correct.mean(dtype=np.float64))
        if not self.values:
            return {"accuracy": mean}
        return {"r2": mean, "mae": float(np.sqrt(-self.test_confidence[:, 0]).mean(dtype=np.float64))}


def write_dump(path: Path, dump: Dump) -> None:
    """Write a dump; a reader sees all of it or nothing."""
    arrays = {each.name: getattr(dump, each.name) for each in fields(dump) if each.name not in ("meta", "slices")}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    arrays |= {f"{_SLICE}{name}": mask for name, mask in dump.slices.items()}
    with atomic_write(path) as file:
        np.savez(file, meta=np.array(json.dumps(dict(dump.meta))), **arrays)


def read_dump(path: Path) -> Dump:
    """Read a dump; its arrays are mapped from the file, so that a study larger than memory can be audited.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, lacks an array or fails a check of :class:`Dump`; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no confidences at {path}; run predict for this model")
    try:
        arrays = map_npz(path)
        absent = [f.name for f in fields(Dump) if f.name not in (*arrays, "logits", "test_labels", "slices")]
        if absent:
            raise ValueError(f"no array named {', '.join(absent)}")
        meta = json.loads(str(arrays.pop("meta")))
        slices = {name.removeprefix(_SLICE): mask for name, mask in arrays.items() if name.startswith(_SLICE)}
        return Dump(**{f.name: arrays[f.name] for f in fields(Dump) if f.name in arrays}, meta=meta, slices=slices)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a usable dump: {error}; delete it and run predict for this model again"
        ) from error


def npz_names(path: Path) -> list[str]:
    """Names of the arrays of an .npz.

    Raises:
        ValueError: if the file is truncated or no .npz; names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path.name} is truncated or no .npz file ({error})") from error


def map_npz(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, or those of these names, mapped from the file where stored uncompressed.

    ``numpy.load`` would copy them.

    Lengths are checked, checksums of mapped arrays are not: that would read all of a file larger than memory.

    Raises:
        ValueError: if the file is truncated or no .npz, or an array in it is damaged or none of numbers; names both.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            whole = map_bytes(path)
            infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            wanted = [info for info in infos if names is None or info.filename[:-4] in names]
            return {info.filename[:-4]: _member(path, whole, archive, info) for info in wanted}
    except (zipfile.BadZipFile, OSError, KeyError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{path.name} is truncated or no .npz file ({error})") from error


def map_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy, mapped from the file.

    Raises:
        ValueError: if the file is truncated or no array of numbers; names it.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise ValueError(f"{path.name} is damaged or no array of numbers ({error}); write the file again") from error


def _member(path: Path, whole: NDArray[np.uint8], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One array of the archive."""
    try:
        return _mapped(whole, archive, info)
    except _DAMAGED as error:
        raise ValueError(
            f"{info.filename} in {path.name} is damaged or no array of numbers ({error}); write the file again"
        ) from error


def _mapped(whole: NDArray[np.uint8], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """A view of the mapped file, or a copy where the array is compressed or of an unusual kind."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        header = member.tell()
    promised = header + math.prod(shape) * dtype.itemsize
    if promised != info.file_size and not dtype.hasobject:
        raise ValueError(f"its header promises {promised} bytes; got {info.file_size}")
    if info.compress_type != zipfile.ZIP_STORED or fortran or dtype.kind not in "biuf":
        with archive.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    # The local header before the data states its own lengths; those in the archive's directory may differ.
    name, extra = whole[info.header_offset + 26 : info.header_offset + 30].view("<u2").tolist()
    start = info.header_offset + 30 + name + extra + header
    return np.ndarray(shape, dtype, whole, start)


def _check(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}; got {array.dtype} {array.shape}")
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        first = tuple(int(axis) for axis in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} must be finite; {(~finite).sum()} of {array.size} values are NaN or infinite, the first at {first}"
        )
