from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_privq.quantization.problem import levels_from_bits

METHODS = ["nearest", "adaround"]
CLASSES = {"nearest": "Nearest", "adaround": "AdaRound"}
BITS: dict[str, float | dict[str, float]] = {"4": 4, "1.58": 1.58, "1.58-last8": {"*": 1.58, "fc": 8}}
MODELS = range(6)


def load(study: Path, variant: str, model: int) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(study / f"checkpoints/{variant}/{model:03d}.ckpt", weights_only=True)
    return loaded


def rows(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def layer_bits(bits: str, layer: str) -> float:
    chosen = BITS[bits]
    return chosen if isinstance(chosen, (int, float)) else chosen.get(layer, chosen["*"])


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", METHODS)
def test_a_channel_has_at_most_as_many_distinct_weights_as_levels(study: Path, method: str, bits: str) -> None:
    for model in MODELS:
        checkpoint = load(study, f"{method}-{bits}", model)
        assert set(checkpoint["quantization"]) == {
            "conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0",
            "fc",
        }  # fmt: skip
        for layer, stored in checkpoint["quantization"].items():
            levels = levels_from_bits(layer_bits(bits, layer))
            assert stored["levels"] == levels
            assert stored["bits"] == layer_bits(bits, layer)
            weight = rows(checkpoint["state_dict"][f"net.{layer}.weight"])
            assert max(len(row.unique()) for row in weight) <= levels


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", METHODS)
def test_the_stored_codes_give_back_the_weights_exactly(study: Path, method: str, bits: str) -> None:
    for model in MODELS:
        checkpoint = load(study, f"{method}-{bits}", model)
        for layer, stored in checkpoint["quantization"].items():
            weight = checkpoint["state_dict"][f"net.{layer}.weight"]
            codes, scale, zero = stored["codes"], stored["scale"], stored["zero"]
            assert codes.dtype == torch.int16
            assert codes.shape == rows(weight).shape
            assert scale.shape == zero.shape == (len(codes), 1)
            assert codes.min() >= 0
            assert codes.max() < stored["levels"]
            assert torch.equal((scale * (codes.to(scale.dtype) - zero)).view_as(weight), weight)


@pytest.mark.parametrize("variant", [f"{method}-{bits}" for method in METHODS for bits in BITS])
def test_every_quantized_model_differs_from_its_parent_and_in_its_weights_only(study: Path, variant: str) -> None:
    for model in MODELS:
        parent, quantized = load(study, "none-32", model), load(study, variant, model)
        assert parent["hyper_parameters"] == quantized["hyper_parameters"]
        assert parent["state_dict"].keys() == quantized["state_dict"].keys()
        changed = {f"net.{layer}.weight" for layer in quantized["quantization"]}
        for name, value in parent["state_dict"].items():  # batch norms and biases stay
            assert torch.equal(value, quantized["state_dict"][name]) == (name not in changed), name


def test_a_quantized_checkpoint_says_how_it_was_made(study: Path) -> None:
    for model in MODELS:
        parent = load(study, "none-32", model)["lit_privq"]
        for method in METHODS:
            for bits, number in BITS.items():
                made = load(study, f"{method}-{bits}", model)["lit_privq"]
                assert (made["variant"], made["method"], made["bits"]) == (f"{method}-{bits}", method, number)
                assert made["members"][made["calibration"]].all()
                assert len(made["calibration"].unique()) == 16
                kept = ("index", "dataset", "fingerprint", "net", "seed", "data")
                assert {key: made[key] for key in kept} == {key: parent[key] for key in kept}
                assert [unit["unit"] for unit in made["units"]][-1] == "fc"
                assert made["options"]["class_path"] == f"lit_privq.quantization.{method}.{CLASSES[method]}"


def test_all_methods_and_precisions_share_one_calibration_set(study: Path) -> None:
    for model in MODELS:
        sets = [
            load(study, f"{m}-{bits}", model)["lit_privq"]["calibration"].tolist() for m in METHODS for bits in BITS
        ]
        assert all(one == sets[0] for one in sets)


@pytest.mark.parametrize("method", METHODS)
def test_several_precisions_and_models_at_once_equal_one_at_a_time(
    privq: Callable[..., None], study: Path, tmp_path: Path, method: str
) -> None:
    parent = str(study / "checkpoints/none-32/003.ckpt")
    for bits, number in BITS.items():
        privq("fit", f"ptq/{method}.yaml", tmp_path, "--model.checkpoint", parent, "--model.bits", json.dumps(number))
        single, together = (load(folder, f"{method}-{bits}", 3) for folder in (tmp_path, study))
        for layer, stored in together["quantization"].items():
            other = single["quantization"][layer]
            torch.testing.assert_close(stored["scale"], other["scale"], rtol=1e-6, atol=0)
            torch.testing.assert_close(stored["zero"], other["zero"], rtol=1e-6, atol=1e-6)
            differ = (stored["codes"] != other["codes"]).float().mean()
            assert differ <= 0.01  # sums of a batch of models may round a tie the other way


@pytest.mark.parametrize("bits", BITS)
def test_adaround_flips_roundings_and_lowers_the_error_of_the_units(study: Path, bits: str) -> None:
    for model in MODELS:
        nearest, adaround = (load(study, f"{method}-{bits}", model)["lit_privq"]["units"] for method in METHODS)
        assert all(unit["flipped"] == 0 for unit in nearest)
        assert sum(unit["flipped"] for unit in adaround) / len(adaround) > 0.01
        total = [sum(unit["error"] for unit in units) for units in (nearest, adaround)]
        assert total[1] < total[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("quantized", "is quantized already; give the full-precision checkpoint it was made from"),
        ("missing", "no checkpoint .*; train or quantize that model first"),
        ("truncated", "is damaged .*; delete it and make it again"),
        ("foreign", "was not written by lit_privq"),
        ("other network", "belong to another network: size mismatch for conv1.weight"),
        ("other model", "holds model 2, not 3"),
        ("other split", "was trained on other members than split_seed 9 gives model 2"),
        ("other data", "holds data \\(fingerprint\\)"),
    ],
)
def test_a_checkpoint_that_cannot_be_quantized_is_refused(
    privq: Callable[..., None], study: Path, tmp_path: Path, damage: str, message: str
) -> None:
    good = study / "checkpoints/none-32/002.ckpt"
    path, options = tmp_path / "x.ckpt", list[str]()
    checkpoint = load(study, "none-32", 2)
    match damage:
        case "quantized":
            path = study / "checkpoints/nearest-4/002.ckpt"
        case "truncated":
            path.write_bytes(good.read_bytes()[:5000])
        case "foreign":
            torch.save({"state_dict": checkpoint["state_dict"]}, path)
        case "other network":
            checkpoint["hyper_parameters"]["net"]["init_args"]["width"] = 6
            torch.save(checkpoint, path)
        case "other model":
            path, options = good, ["--data.model_index", "3"]
        case "other split":
            path, options = good, ["--data.split_seed", "9"]
        case "other data":
            path, options = good, ["--data.dataset.init_args.pool_size", "63"]
    out = tmp_path / "out"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        privq("fit", "ptq/nearest.yaml", out, "--model.checkpoint", str(path), "--model.bits", "2", *options)
    assert not out.exists()
