from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lit_privq.export.command import load, main, size_on_disk
from lit_privq.models.small import small_resnet
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer

DATA = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def checkpoint(quantized: bool = True) -> dict[str, Any]:
    """What fit with a file of configs/ptq writes, as far as export reads it."""
    torch.manual_seed(0)
    net = small_resnet(num_classes=3, width=8).eval()
    spec = {"class_path": "lit_privq.models.small.small_resnet", "init_args": {"num_classes": 3, "width": 8}}
    made = {"method": "nearest", "bits": 2, "index": 0, "members": torch.ones(4, dtype=torch.bool)}
    content: dict[str, Any] = {"hyper_parameters": {"net": spec}, "lit_privq": made}
    if quantized:
        quantizer = NetworkQuantizer([net], DATA, Nearest(), [2], [0])
        for _ in quantizer.units:
            quantizer.step()
        net = quantizer.network(0, 0)
        content["quantization"] = {
            name: {"codes": one.codes[0].to(torch.int16), "scale": one.scale[0], "zero": one.zero[0], "levels": 4}
            for name, one in quantizer.codes(0, 0).items()
        }
    return content | {"state_dict": {f"net.{name}": value for name, value in net.state_dict().items()}}


def saved(content: dict[str, Any], path: Path) -> str:
    torch.save(content, path)
    return str(path)


def test_an_exported_network_gives_the_same_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, output = checkpoint(), tmp_path / "sub" / "x.safetensors"
    main(["--ckpt", saved(content, tmp_path / "x.ckpt"), "--output", str(output)])
    again, wanted = load(output), small_resnet(num_classes=3, width=8).eval()
    wanted.load_state_dict({name.removeprefix("net."): value for name, value in content["state_dict"].items()})
    with torch.no_grad():
        assert torch.equal(again(DATA[0]), wanted(DATA[0]))
    assert output.stat().st_size == size_on_disk(content)
    assert f"{output.stat().st_size:,} bytes" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["x.safetensors"]  # nothing half-written is left


def test_a_checkpoint_that_is_not_quantized_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not quantized"):
        main(["--ckpt", saved(checkpoint(quantized=False), tmp_path / "x.ckpt"), "--output", str(tmp_path / "y")])


def test_onnx_needs_to_know_the_image_shape(tmp_path: Path) -> None:
    options = ["--ckpt", saved(checkpoint(), tmp_path / "x.ckpt"), "--output", str(tmp_path / "y"), "--format", "onnx"]
    with pytest.raises(ValueError, match="add --image_shape, such as 3 32 32"):
        main(options)
    assert not (tmp_path / "y").exists()


@pytest.mark.slow
def test_onnx_is_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    output = tmp_path / "x.onnx"
    command = ["--ckpt", saved(checkpoint(), tmp_path / "x.ckpt"), "--output", str(output), "--format", "onnx"]
    main([*command, "--image_shape", "1", "8", "8"])
    assert output.stat().st_size > 0


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        main(["--ckpt", str(tmp_path / "none.ckpt"), "--output", str(tmp_path / "y")])
