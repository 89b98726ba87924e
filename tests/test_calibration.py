from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.variant import Variant
from lit_privq.classifier import Classifier
from lit_privq.cli import main, run_cli
from lit_privq.data.digits import Digits
from lit_privq.export.command import load as load_network
from lit_privq.export.command import main as export
from lit_privq.export.command import size_on_disk
from lit_privq.quantization.method import levels_from_bits

METHODS = ["nearest", "adaround"]
CLASSES = {"nearest": "Nearest", "adaround": "AdaRound"}
BITS: dict[str, float | dict[str, float]] = {"4": 4, "1.58": 1.58, "1.58-last8": {"*": 1.58, "last": 8}}
MODELS = range(6)


def load(study: Path, variant: str, model: int) -> dict[str, Any]:
    return read_checkpoint(study / f"checkpoints/{variant}/{model:03d}.ckpt")


def rows(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def layer_bits(bits: str, layer: str) -> float:
    chosen = BITS[bits]
    return chosen if isinstance(chosen, (int, float)) else chosen["last" if layer == "fc" else "*"]


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
            assert codes.dtype == torch.uint8
            assert codes.shape == rows(weight).shape
            assert scale.shape == zero.shape == (len(codes), 1)
            assert codes.min() >= 0
            assert int(codes.max()) < stored["levels"]
            assert torch.equal((scale * (codes.to(scale.dtype) - zero)).view_as(weight), weight)


def test_a_quantized_checkpoint_holds_one_byte_a_weight_and_no_copy_in_float(study: Path) -> None:
    path = study / "checkpoints/nearest-4/000.ckpt"
    raw: dict[str, Any] = torch.load(path, weights_only=True)
    assert not raw["state_dict"].keys() & {f"net.{layer}.weight" for layer in raw["quantization"]}
    parts = [stored[part] for stored in raw["quantization"].values() for part in ("codes", "scale", "zero")]
    weights = sum(stored["codes"].numel() for stored in raw["quantization"].values())
    channels = sum(len(stored["codes"]) for stored in raw["quantization"].values())
    size, float_size = (
        sum(value.nbytes for value in tensors)
        for tensors in ([*raw["state_dict"].values(), *parts], load(study, "none-32", 0)["state_dict"].values())
    )
    assert size == float_size - 3 * weights + 8 * channels  # one byte for four; a scale and a zero of each channel


def test_lightning_reads_a_quantized_checkpoint_like_any_other(study: Path) -> None:
    path = study / "checkpoints/nearest-4/000.ckpt"
    restored = Classifier.load_from_checkpoint(path, map_location="cpu")
    for name, value in load(study, "nearest-4", 0)["state_dict"].items():
        assert torch.equal(restored.state_dict()[name], value), name


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_a_quantized_checkpoint_is_validated_with_its_own_weights(
    privq: Callable[..., None], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    told = []
    torch.save(load(study, "nearest-1.58", 0), tmp_path / "whole.ckpt")  # with the weights beside the codes
    for path in (study / "checkpoints/nearest-1.58/000.ckpt", tmp_path / "whole.ckpt"):
        privq(verb, "shadow/digits.yaml", tmp_path / "out", "--ckpt_path", str(path))
        told.append(capsys.readouterr().out)
    assert "accuracy" in told[0]
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_quantized_checkpoint_is_exported_with_all_that_the_file_needs_to_know(
    study: Path, tmp_path: Path, size_without_card: Callable[[Path], int]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = study / "checkpoints/nearest-4/000.ckpt"
    for name in ("x.safetensors", "x.onnx"):
        export(["--ckpt", str(path), "--output", str(tmp_path / name)])
    told = read_checkpoint(path)["lit_privq"]["size_bytes"]
    assert abs(size_without_card(tmp_path / "x.safetensors") - told) < 8  # headers are a multiple of 8 bytes
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    pool = Digits(pool_size=61).load(Path(), False)
    images = pool.test_inputs[:50]
    (got,) = session.run(None, {"images": images.numpy()})
    net, normalised = load_network(tmp_path / "x.safetensors"), (images / 255 - pool.mean[0]) / pool.std[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(got), net(normalised), rtol=1e-4, atol=1e-4)  # float32 sums


def test_a_checkpoint_of_an_earlier_version_is_read_as_it_was(study: Path, tmp_path: Path) -> None:
    checkpoint = load(study, "nearest-4", 0)
    wanted = network_of(checkpoint, tmp_path).state_dict()
    for stored in checkpoint["quantization"].values():  # int16 codes beside the weights, and no layout
        stored["codes"] = stored["codes"].to(torch.int16)
        for key in ("parameter", "shape", "transposed_groups"):
            del stored[key]
    checkpoint["state_dict"] = dict(checkpoint["state_dict"])
    torch.save(checkpoint, tmp_path / "earlier.ckpt")
    again = read_checkpoint(tmp_path / "earlier.ckpt")
    assert all(torch.equal(value, wanted[name]) for name, value in network_of(again, tmp_path).state_dict().items())
    assert size_on_disk(again) == pytest.approx(again["lit_privq"]["size_bytes"], abs=1000)  # layouts, versions


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
                assert (made["variant"], made["method"], made["bits"]) == (
                    f"{method}-{bits}", method, {"*": 1.58, "fc": 8} if isinstance(number, dict) else number,
                )  # fmt: skip
                assert made["members"][made["calibration"]].all()
                assert len(made["calibration"].unique()) == 16
                kept = ("index", "dataset", "fingerprint", "net", "seed", "data")
                assert {key: made[key] for key in kept} == {key: parent[key] for key in kept}
                assert [unit["unit"] for unit in made["units"]][-1] == "fc"
                assert made["options"]["class_path"] == f"lit_privq.quantization.{CLASSES[method]}"


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


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Kinds of tensors that differ, such as running_mean."""
    assert before["state_dict"].keys() == after["state_dict"].keys()
    pairs = ((name, value, after["state_dict"][name]) for name, value in before["state_dict"].items())
    return {name.rpartition(".")[2] for name, value, other in pairs if not torch.equal(value, other)}


def test_weights_that_stay_float_are_named_counted_and_not_changed(
    privq: Callable[..., None], study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent, bits = str(study / "checkpoints/none-32/003.ckpt"), {"*": 1.58, "fc": 32}
    command = ("--model.checkpoint", parent, "--model.bits", json.dumps([bits, 4]), "--model.bias_correction", "true")
    privq("fit", "ptq/nearest.yaml", tmp_path, *command)
    name = Variant.of("nearest", bits).name
    made, plain, float_one = load(tmp_path, name, 3), load(tmp_path, "nearest-4", 3), load(study, "none-32", 3)
    assert (made["lit_privq"]["weights"], made["lit_privq"]["float_weights"]) == (7, 1)
    assert made["lit_privq"]["float_names"] == ["fc"]
    assert (plain["lit_privq"]["weights"], plain["lit_privq"]["float_weights"]) == (7, 0)
    assert "fc" not in made["quantization"]
    assert "fc" in plain["quantization"]
    for part in ("weight", "bias"):
        assert torch.equal(made["state_dict"][f"net.fc.{part}"], float_one["state_dict"][f"net.fc.{part}"])
    assert [unit["unit"] for unit in made["lit_privq"]["units"]][-1] != "fc"
    told = [record.message for record in caplog.records if "stay float" in record.message]
    assert told == [f"{name}: 1 of 7 weights stay float: fc"]


@pytest.fixture
def nearest(privq: Callable[..., None], study: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Quantize model 3 at 1.58 bits to nearest, with further options."""

    def run(name: str, *options: str) -> dict[str, Any]:
        parent = str(study / "checkpoints/none-32/003.ckpt")
        command = ("--model.checkpoint", parent, "--model.bits", "1.58", *options)
        privq("fit", "ptq/nearest.yaml", tmp_path / name, *command)
        return load(tmp_path / name, "nearest-1.58", 3)

    return run


def test_bias_correction_gives_the_mean_logits_on_the_calibration_images_back(
    conf: Path, study: Path, nearest: Callable[..., dict[str, Any]]
) -> None:
    parent, plain = load(study, "none-32", 3), load(study, "nearest-1.58", 3)
    mended = nearest("mended", "--model.bias_correction", "true", "--model.batch_size", "5")
    assert changed(plain, mended) == {"running_mean", "bias"}
    data = run_cli(["--config", str(conf / "shadow/digits.yaml")], run=False).datamodule
    chosen = data.augmentation(mended["lit_privq"]["calibration"], None)
    images, _ = data.batch_maker("pool", torch.device("cpu")).batch(chosen)
    with torch.no_grad():
        wanted, before, after = (network_of(one, study)(images).mean(0) for one in (parent, plain, mended))
    torch.testing.assert_close(after, wanted, rtol=1e-4, atol=1e-4)  # float32 sums over 16 images
    assert (before - wanted).abs().max() > 0.1


def test_layers_that_bias_correction_cannot_shift_are_told_once(
    nearest: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lit_privq.calibration.correct_bias", lambda *_: ["stem", "fc"])
    nearest("once", "--model.bias_correction", "true", "--model.bits", "[4, 1.58]")
    told = [record.message for record in caplog.records if "bias_correction" in record.message]
    assert told == ["bias_correction leaves layers stem, fc shifted: they have no bias or batch norm of their own"]


def test_batch_norm_batches_tune_statistics_alone_and_alike_each_time(
    study: Path, nearest: Callable[..., dict[str, Any]]
) -> None:
    plain = load(study, "nearest-1.58", 3)
    first, second = (nearest(name, "--model.batch_norm_batches", "3") for name in ("first", "second"))
    assert changed(plain, first) == {"running_mean", "running_var", "num_batches_tracked"}
    assert not changed(first, second)
    counts = [int(value) for name, value in first["state_dict"].items() if name.endswith("num_batches_tracked")]
    assert set(counts) == {3}
    late = nearest("late", "--model.batch_norm_batches", "3", "--model.batch_norm_momentum", "0.9")
    assert changed(first, late) == {"running_mean", "running_var"}


def test_batch_norms_are_tuned_on_images_shifted_and_mirrored_as_in_training(
    nearest: Callable[..., dict[str, Any]],
) -> None:
    tuned = ("--model.batch_norm_batches", "3")
    moving, still = nearest("moving", *tuned), nearest("still", *tuned, "--data.padding", "0", "--data.mirror", "false")
    means = [made["state_dict"]["net.bn1.running_mean"] for made in (moving, still)]
    assert (means[0] - means[1]).abs().max() > 1e-3  # the same 16 images in another order differ by float noise


def test_batch_norm_batches_that_tune_nothing_are_told(
    privq: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = "{class_path: lit_privq.models.mlp.perceptron, init_args: {in_features: 64, num_classes: 10}}"
    privq("fit", "shadow/digits.yaml", tmp_path, "--model.net", net, "--trainer.max_epochs", "1")
    parent = str(tmp_path / "checkpoints/none-32/000.ckpt")
    command = ("--model.checkpoint", parent, "--model.bits", "2", "--model.batch_norm_batches", "100")
    privq("fit", "ptq/nearest.yaml", tmp_path, *command)
    told = [record.message for record in caplog.records if record.name == "lit_privq.calibration"]
    assert told == ["batch_norm_batches 100 does nothing: no batch norm of this network keeps running statistics"]


@pytest.mark.parametrize("models", ["0", "0:3"])
def test_one_progress_bar_counts_the_units(
    privq: Callable[..., None], study: Path, tmp_path: Path, models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parents = str(study / "checkpoints/none-32/{index:03d}.ckpt")
    options = ("--data.model_index", models, "--model.checkpoint", parents, "--model.bits", "[4, 2]")
    privq("fit", "ptq/nearest.yaml", tmp_path, *options, "--trainer.enable_progress_bar", "true")
    *shown, four, two = re.split(r"[\r\n]+", capsys.readouterr().out.strip())
    assert [line.startswith(f"{tmp_path}/checkpoints/nearest-{bits}") for line, bits in ((four, 4), (two, 2))] == [
        True
    ] * 2
    assert all(line.startswith("Units: ") for line in shown)
    counts = [found[0] for line in shown if (found := re.findall(r" (\d+/\d+) ", line))]
    assert list(dict.fromkeys(counts)) == [f"{unit}/7" for unit in range(1, 8)]
    assert "relative_error=" in shown[-1]


SHIPPED = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(str(path.relative_to(SHIPPED)) for path in SHIPPED.glob("ptq/**/*.yaml"))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_shipped_config_quantizes_a_checkpoint_by_the_command_it_opens_with(
    study: Path, tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As shipped, W&B's callback too, but for fewer iterations."""
    monkeypatch.chdir(SHIPPED.parent)
    text, parent = (SHIPPED / config).read_text(), load(study, "none-32", 0)
    (command,) = re.findall("^# python -m lit_privq (fit .*)$", text, re.MULTILINE)
    command = command.replace("X.ckpt", str(study / "checkpoints/none-32/000.ckpt"))
    options = ["--trainer.default_root_dir", str(tmp_path), "--trainer.accelerator", "cpu"]
    if "iterations:" in text:
        options += ["--model.method.init_args.iterations", "3"]
    main([*command.split(), *options])
    (path,) = tmp_path.glob("checkpoints/*/000.ckpt")
    made, bits = load(tmp_path, path.parent.name, 0), command.split()[-1]
    method = yaml.safe_load(text)["model"]["init_args"]["method"]["class_path"].rpartition(".")[2].lower()
    trained = "QuantizationAware" in text
    tuned = {"running_mean", "running_var", "num_batches_tracked"} if "batch_norm_batches" in text or trained else set()
    counted = {"num_batches_tracked"} if trained else set()  # from the start, as many as of the parent
    assert changed(parent, made) | counted == {"weight"} | tuned | ({"bias"} if trained else set())
    assert (made["lit_privq"]["method"], made["lit_privq"]["bits"]) == (method, float(bits))
    assert path.parent.name == f"{method}-{bits}"


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


def test_every_two_repeats_share_their_calibration_examples_and_all_have_seeds_of_their_own(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    parent = ("--model.checkpoint", str(study / "checkpoints/none-32/003.ckpt"), "--model.bits", "2")
    tuned = ("--model.batch_norm_batches", "3")  # of images that are shifted at random
    drawn, means = [], []
    for repeat, name in enumerate(("adaround-2", "adaround-2~1", "adaround-2~2", "adaround-2~3")):
        privq("fit", "ptq/adaround.yaml", tmp_path, *parent, "--model.repeat", str(repeat), *tuned)
        made = load(tmp_path, name, 3)
        assert made["lit_privq"]["variant"] == name
        drawn.append(made["lit_privq"]["calibration"].tolist())
        means.append(torch.cat([v for name, v in made["state_dict"].items() if name.endswith("running_mean")]))
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    assert drawn[0] == load(study, "adaround-1.58", 3)["lit_privq"]["calibration"].tolist()
    assert all(not torch.equal(means[one], means[other]) for one in range(4) for other in range(one))
