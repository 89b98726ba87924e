from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_privq.api import quantize
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.codes import without_weights
from lit_privq.export.card import NOT_AUDITED
from lit_privq.export.command import load, main, size_on_disk
from lit_privq.export.packed import packed_bytes
from lit_privq.models.small import small_resnet
from lit_privq.quantization.nearest import Nearest

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def checkpoint(quantized: bool = True) -> dict[str, Any]:
    """What fit with a file of configs/ptq writes, as far as export reads it."""
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=8).eval()
    spec = {"class_path": "lit_privq.models.small.small_resnet", "init_args": {"num_classes": 3, "width": 8}}
    made = {"method": "nearest", "bits": 2, "index": 0, "members": torch.ones(4, dtype=torch.bool)}
    content: dict[str, Any] = {"hyper_parameters": {"net": spec}, "lit_privq": made}
    if quantized:
        small = quantize(net, IMAGES, Nearest(), 2)
        content["quantization"], net = small.layers(), small.net
    state = without_weights(net.state_dict(), content.get("quantization", {}))
    return content | {"state_dict": {f"net.{name}": value for name, value in state.items()}}


def saved(content: dict[str, Any], path: Path) -> str:
    torch.save(content, path)
    return str(path)


def test_an_exported_network_gives_the_same_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size_without_card: Callable[[Path], int]
) -> None:
    content, output = checkpoint(), tmp_path / "sub" / "x.safetensors"
    main(["--ckpt", saved(content, tmp_path / "x.ckpt"), "--output", str(output)])
    again, wanted = load(output), network_of(read_checkpoint(tmp_path / "x.ckpt"), tmp_path)
    with torch.no_grad():
        assert torch.equal(again(IMAGES), wanted(IMAGES))
    assert abs(size_without_card(output) - size_on_disk(content)) < 8  # headers are a multiple of 8 bytes
    assert f"{output.stat().st_size:,} bytes" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["x.safetensors"]  # nothing half-written is left


def test_a_checkpoint_that_is_not_quantized_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not quantized"):
        main(["--ckpt", saved(checkpoint(quantized=False), tmp_path / "x.ckpt"), "--output", str(tmp_path / "y.onnx")])


def test_onnx_needs_to_know_the_image_shape(tmp_path: Path) -> None:
    options = ["--ckpt", saved(checkpoint(), tmp_path / "x.ckpt"), "--output", str(tmp_path / "y.onnx")]
    with pytest.raises(ValueError, match="add --image_shape, such as 3 32 32"):
        main(options)
    assert not (tmp_path / "y.onnx").exists()


def test_onnx_needs_to_know_how_images_were_normalised(tmp_path: Path) -> None:
    options = ["--ckpt", saved(checkpoint(), tmp_path / "x.ckpt"), "--output", str(tmp_path / "y.onnx")]
    with pytest.raises(ValueError, match="does not say how its images were normalised; add --mean and --std"):
        main([*options, "--image_shape", "1", "8", "8"])
    assert not (tmp_path / "y.onnx").exists()


@pytest.mark.parametrize(
    ("name", "asked"),
    [("x.onnx", "safetensors"), ("x.safetensors", "onnx"), ("x.pt", None), ("x", None)],
)
def test_a_suffix_that_says_another_format_or_none_is_refused(name: str, asked: str | None, tmp_path: Path) -> None:
    options = [] if asked is None else ["--format", asked]
    with pytest.raises(ValueError, match=rf"must end in \.safetensors or \.onnx, as its format; got .*{name}"):
        main(["--ckpt", saved(checkpoint(), tmp_path / "y.ckpt"), "--output", str(tmp_path / name), *options])
    assert not (tmp_path / name).exists()


def test_a_double_network_comes_back_in_double(tmp_path: Path) -> None:
    content = checkpoint()
    small = quantize(small_resnet(num_classes=3, width=8).double().eval(), IMAGES.double(), Nearest(), 2)
    path = tmp_path / "x.safetensors"
    path.write_bytes(packed_bytes(small.net.state_dict(), small.layers(), {"net": content["hyper_parameters"]["net"]}))
    again = load(path)
    assert all(torch.equal(value, small.net.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_network_that_is_not_trusted_is_not_built(tmp_path: Path) -> None:
    path, proof = tmp_path / "x.safetensors", tmp_path / "proof"
    spec = {"class_path": "os.system", "init_args": {"command": f"touch {proof}"}}
    path.write_bytes(packed_bytes({}, {}, {"net": spec}))
    with pytest.raises(ValueError, match=r"os\.system"):
        load(path)
    assert not proof.exists()


@pytest.mark.slow
def test_onnx_is_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    output = tmp_path / "x.onnx"
    command = ["--ckpt", saved(checkpoint(), tmp_path / "x.ckpt"), "--output", str(output)]
    main([*command, "--image_shape", "1", "8", "8", "--mean", "0.3", "--std", "0.4"])
    assert b"uint8 pixels" in output.read_bytes()
    props = {each.key: each.value for each in onnx.load(output).metadata_props}
    assert (props["method"], props["bits"], props["leakage"]) == ("nearest", "2", NOT_AUDITED)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        main(["--ckpt", str(tmp_path / "none.ckpt"), "--output", str(tmp_path / "y.onnx")])
