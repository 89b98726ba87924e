from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_privq.artifacts.checkpoint import checkpoint_path, network_of, not_finite, read_checkpoint, write_checkpoint
from lit_privq.artifacts.construction import spec_of
from lit_privq.models.small import small_resnet

MADE: dict[str, Any] = {
    "lit_privq": {"variant": "adaround-1.58-last8", "index": 7},
    "state_dict": {"net.w": torch.ones(2), "net.n": torch.tensor(3)},
}


@pytest.mark.parametrize(
    ("pattern", "expected"), [("a/{index}.ckpt", "a/7.ckpt"), ("{index:03d}/x", "007/x"), ("x.ckpt", "x.ckpt")]
)
def test_the_index_stands_where_the_pattern_says(pattern: str, expected: str) -> None:
    assert checkpoint_path(pattern, 7) == Path(expected)


@pytest.mark.parametrize("pattern", ["a/{i}.ckpt", "a/{}.ckpt", "a/{index:x03y}.ckpt", "a/{index.ckpt"])
def test_other_braces_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="only braces in a checkpoint's path"):
        checkpoint_path(pattern, 7)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on", b"weights"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint .*x\.ckpt is damaged .*; delete it and make it again"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_changed_byte_that_torch_loads_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, {**MADE, "state_dict": {"net.w": torch.full((100,), 7.5)}})
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((100,), 7.5).numpy().tobytes()) + 200] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["state_dict"]["net.w"].unique().numel() == 2
    with pytest.raises(ValueError, match=r"007\.ckpt is damaged \(wrong checksum\); delete it and make it again"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{}, [], {"state_dict": {}}])
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"x\.ckpt was not written by lit_privq"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_pickled_module_is_not_executed(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"is damaged \(UnpicklingError\)"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_checkpoint_is_filed_by_variant_and_index(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, MADE)
    assert path == tmp_path / "adaround-1.58-last8/007.ckpt"
    assert torch.load(path, weights_only=True)["lit_privq"] == MADE["lit_privq"]
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path, MADE)
    before = path.read_bytes()

    def full_disk(_: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        write_checkpoint(tmp_path, MADE)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_same_content_gives_the_same_bytes_whoever_writes_it_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write_checkpoint(tmp_path / "one", MADE)
    monkeypatch.setattr(os, "getpid", lambda: 12345678)
    assert write_checkpoint(tmp_path / "other", MADE).read_bytes() == one.read_bytes()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named_and_not_taken_for_a_network(bad: float) -> None:
    net = small_resnet(num_classes=3, width=4)
    checkpoint = {
        "hyper_parameters": {"net": spec_of(net)},
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
    }
    assert not_finite(checkpoint) is None
    checkpoint["state_dict"]["net.fc.weight"][1, 2] = bad
    assert not_finite(checkpoint) == "fc.weight"
    with pytest.raises(ValueError, match=r"x\.ckpt holds NaN or infinity in fc\.weight, its training diverged"):
        network_of(checkpoint, Path("x.ckpt"))


def test_a_grid_that_is_not_finite_is_named_too() -> None:
    layer = {"scale": torch.tensor([[float("nan")]]), "zero": torch.zeros(1, 1)}
    assert not_finite({**MADE, "quantization": {"fc": layer}}) == "fc.scale"
