from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_privq.artifacts.confidences import Dump, map_npy, map_npz, read_dump, write_dump

META = {
    "dataset": "digits",
    "net": "small",
    "fingerprint": "abc",
    "index": 3,
    "method": "adaround",
    "bits": 1.58,
    "last_bits": 8.0,
    "size_bytes": None,
    "n_shadows": 4,
    "n_targets": 1,
    "split_seed": 0,
    "n_queries": 2,
}


@pytest.fixture
def dump() -> Dump:
    return Dump(**fields())


def fields() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "confidence": random.normal(size=(6, 2)).astype(np.float32),
        "labels": np.arange(6),
        "members": np.arange(6) < 3,
        "calibration": np.array([2, 0]),
        "test_confidence": random.normal(size=(4, 2)).astype(np.float32),
        "test_correct": np.array([True, False, True, True]),
        "meta": META,
    }


@pytest.mark.parametrize("logits", [None, np.ones((6, 2, 3), np.float32)])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path, logits: Any) -> None:
    dump = Dump(**fields(), logits=logits)
    write_dump(tmp_path / "deep" / "003.npz", dump)
    again = read_dump(tmp_path / "deep" / "003.npz")
    for field in dataclasses.fields(Dump):
        one, other = getattr(dump, field.name), getattr(again, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["003.npz"]


def test_numpy_alone_reads_a_dump(tmp_path: Path, dump: Dump) -> None:
    write_dump(tmp_path / "003.npz", dump)
    with np.load(tmp_path / "003.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["confidence"], dump.confidence)
        assert '"fingerprint": "abc"' in str(arrays["meta"])


def test_confidences_are_mapped_not_loaded(tmp_path: Path, dump: Dump) -> None:
    write_dump(tmp_path / "003.npz", dump)
    base = read_dump(tmp_path / "003.npz").confidence
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert not base.flags.owndata
    assert not base.flags.writeable


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_npz_can_be_mapped(tmp_path: Path, save: Callable[..., None]) -> None:
    arrays = {
        "float": np.arange(12.0).reshape(3, 4),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(3.5),
        "text": np.array("words"),
    }
    save(tmp_path / "any.npz", **arrays)
    for name, array in map_npz(tmp_path / "any.npz").items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name])


def test_a_failed_write_leaves_nothing(tmp_path: Path, dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        write_dump(tmp_path / "003.npz", dump)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named_with_its_remedy(tmp_path: Path, dump: Dump, share: float) -> None:
    path = tmp_path / "003.npz"
    write_dump(path, dump)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"003\.npz is not a usable dump: .* delete it and run predict"):
        read_dump(path)


def npy(array: Any, cut: int = 0) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()[: len(buffer.getvalue()) - cut]


def header(shape: str) -> bytes:
    """A file of 16 bytes whose header says another shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(16)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (npy(np.arange(9.0), cut=16), r"b.npy in x.npz is damaged or .*its header promises 200 bytes; got 184"),
        (header("(-2, -1)"), r"b.npy in x.npz is damaged .*dimension"),
        (header("(0, 99999999999999999999)"), r"b.npy in x.npz is damaged"),
        (header("(3,"), r"b.npy in x.npz is damaged"),
        (header("(True,)"), r"b.npy in x.npz is damaged"),
        (npy(np.array([{}], object)), r"b.npy in x.npz is damaged or no array of numbers"),
        (b"no array at all", r"b.npy in x.npz is damaged or no array of numbers"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_array_of_a_whole_npz_is_named(
    tmp_path: Path, damaged: bytes, message: str, last: bool, method: int
) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        archive.writestr("a.npy", npy(np.zeros(3)))
        archive.writestr("b.npy", damaged)
        if not last:
            archive.writestr("c.npy", npy(np.ones(99)))
    with pytest.raises(ValueError, match=message):
        map_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_whatever_byte_is_broken_the_arrays_are_read_or_the_file_is_named(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    path = tmp_path / "x.npz"
    save(path, a=np.arange(3.0), text=np.array("words"))
    whole = path.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        try:
            map_npz(path)
        except ValueError as error:
            assert "x.npz" in str(error)  # noqa: PT017 - most breaks raise, some cannot be seen


def test_an_npy_is_mapped_and_named_when_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(np.arange(3.0)))
    np.testing.assert_array_equal(map_npy(path), np.arange(3.0))
    for damaged in (npy(np.arange(3.0), cut=8), npy(np.arange(3.0), cut=100), npy(np.array([{}], object)), b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x.npy is damaged or no array of numbers"):
            map_npy(path)


def test_a_corrupt_compressed_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).normal(size=5000))
    whole = bytearray(path.read_bytes())
    for place in range(200, len(whole) - 200, 997):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"x.npz"):
            map_npz(path)


def test_a_missing_file_or_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no confidences at"):
        read_dump(tmp_path / "003.npz")
    np.savez(tmp_path / "003.npz", confidence=np.zeros(3))
    with pytest.raises(ValueError, match="no array named labels, members"):
        read_dump(tmp_path / "003.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": np.zeros((6, 3), np.float32)}, r"confidence must be float32 \(6, 2\); got float32 \(6, 3\)"),
        ({"confidence": np.zeros((6, 2))}, "confidence must be float32"),
        (
            {"confidence": np.full((6, 2), np.nan, np.float32)},
            r"12 of 12 values are NaN or infinite, the first at \(0, 0\)",
        ),
        ({"labels": np.zeros(5, np.int64)}, r"confidence must be float32 \(5, 2\)"),
        ({"labels": np.zeros(6)}, "labels must be int64"),
        ({"labels": np.zeros(6, np.float32)}, r"test_correct must be float32 \(4,\); got bool"),
        ({"labels": np.full(6, np.nan, np.float32)}, "labels must be finite; 6 of 6"),
        ({"members": np.zeros(6, int)}, "members must be bool"),
        ({"calibration": np.array([0, 5])}, "members; 1 of 2 examples do not, the first is 5"),
        ({"calibration": np.array([0, 6])}, "the first is 6"),
        ({"test_correct": np.zeros(3, bool)}, r"test_confidence must be float32 \(3, 2\)"),
        ({"logits": np.zeros((6, 2), np.float32)}, "logits must be"),
        ({"meta": {"dataset": "digits"}}, "net, fingerprint, .* missing"),
    ],
)
def test_a_dump_that_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dump(**{**fields(), **changes})


def test_utility_is_the_share_of_right_answers(dump: Dump) -> None:
    assert (dump.values, dump.utility) == (False, {"accuracy": 0.75})
    assert (
        dataclasses.replace(dump, test_correct=np.zeros(0, bool), test_confidence=np.zeros((0, 2), np.float32)).utility
        == {}
    )


def test_a_dump_of_values_tells_r_squared_and_the_mean_absolute_error(tmp_path: Path) -> None:
    error = np.array([[0.0, 9.0], [1.0, 9.0], [3.0, 9.0], [0.0, 9.0]], np.float32)  # of two queries
    changes = {
        "labels": np.linspace(-1, 1, 6, dtype=np.float32),
        "test_confidence": -(error**2),
        "test_correct": 1 - error[:, 0] ** 2 / 5,
    }
    write_dump(tmp_path / "003.npz", Dump(**{**fields(), **changes}))
    again = read_dump(tmp_path / "003.npz")
    assert again.values
    assert again.utility == pytest.approx({"r2": 0.5, "mae": 1.0})
