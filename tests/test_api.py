from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lit_privq.api import load, quantize
from lit_privq.classifier import Classifier
from lit_privq.models.small import small_resnet
from lit_privq.quantization.nearest import Nearest

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def network() -> nn.Module:
    torch.manual_seed(0)
    return small_resnet(num_classes=3, width=8).eval()


def test_a_quantized_network_is_called_like_the_network_and_has_few_levels() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small = quantize(net, IMAGES, Nearest(), bits={"*": 2, "fc": 8})
    assert small(IMAGES).shape == (16, 3)
    assert not small(IMAGES).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for name, one in small.codes.items():
        weight = small.net.get_parameter(f"{name}.weight").flatten(1)  # (rows, columns)
        assert max(len(row.unique()) for row in weight) <= (256 if name == "fc" else 4)
        assert torch.equal(one.weight()[0], weight)
    assert {line.unit for line in small.report} == set(small.codes)


def test_an_exported_network_is_loaded_into_one_of_its_architecture(tmp_path: Path) -> None:
    small = quantize(network(), IMAGES, Nearest(), bits=2)
    again = load(small.export(tmp_path / "small.safetensors"), small_resnet(num_classes=3, width=8))
    assert not again.training
    with torch.no_grad():
        assert torch.equal(again(IMAGES), small(IMAGES))


def test_an_exported_network_that_names_no_class_asks_for_one(tmp_path: Path) -> None:
    path = quantize(network(), IMAGES, Nearest(), bits=2).export(tmp_path / "small.safetensors")
    with pytest.raises(
        ValueError, match=r"does not name its network; build it and give it: lit_privq\.load\(path, net\)"
    ):
        load(path)


@pytest.mark.parametrize("variant", ["none-32", "nearest-4"])
def test_a_checkpoint_is_loaded_for_inference(variant: str, study: Path) -> None:
    path = study / f"checkpoints/{variant}/000.ckpt"
    net, wanted = load(path), Classifier.load_from_checkpoint(path, map_location="cpu").eval()
    assert not net.training
    with torch.no_grad():
        assert torch.equal(net(IMAGES), wanted(IMAGES))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt"):
        load(tmp_path / "nothing.ckpt")


def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors or \.onnx, as its format; got .*small\.pt"):
        quantize(network(), IMAGES, Nearest(), bits=2).export(tmp_path / "small.pt")
    assert not list(tmp_path.iterdir())
