"""Situations in which a file names code: reading it must run nothing that the user did not choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lit_privq.__main__ import run
from lit_privq.artifacts.checkpoint import network_of, read_checkpoint
from lit_privq.artifacts.construction import build, build_trusted
from lit_privq.artifacts.trust import check_trusted, packages
from lit_privq.classifier import Classifier
from lit_privq.export.command import load
from lit_privq.export.packed import packed_bytes
from lit_privq.models.small import small_resnet

LINEAR = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 2}}
MY_NETS = """
from subprocess import run
from torch import nn
from lit_privq.models.small import small_resnet
def tiny(num_classes: int) -> nn.Module: return small_resnet(num_classes=num_classes, width=4)
"""


def shell(mark: Path) -> dict[str, Any]:
    """A network that is a shell command."""
    return {"class_path": "os.system", "init_args": {"command": f"touch {mark}"}}


@pytest.fixture
def hostile(study: Path, tmp_path: Path) -> Path:
    """A checkpoint of the study whose network is a shell command that touches the file ``mark``."""
    checkpoint = torch.load(study / "checkpoints/nearest-1.58/001.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["net"] = shell(tmp_path / "mark")
    torch.save(checkpoint, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


@pytest.fixture
def my_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user's own, with a name that no other test imports."""
    (tmp_path / "my_nets_of_trust.py").write_text(MY_NETS)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_nets_of_trust"


@pytest.mark.parametrize("verb", ["predict", "quantize", "validate", "test", "export", "fit"])
def test_no_verb_runs_what_a_checkpoint_names(
    hostile: Path, conf: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    out = hostile.parent / "out"
    shadow = ("--config", conf / "shadow/digits.yaml", "--ckpt_path", hostile)
    command = {
        "predict": ("predict", "--config", conf / "query/digits.yaml", "--ckpt_path", hostile),
        "quantize": ("fit", "--config", conf / "ptq/nearest.yaml", "--model.checkpoint", hostile, "--model.bits", "2"),
        "export": ("export", "--ckpt", hostile, "--output", out / "x.safetensors"),
    }.get(verb, (verb, *shadow))
    if verb == "quantize":  # of a full-precision checkpoint only
        checkpoint = torch.load(hostile, weights_only=True)
        del checkpoint["quantization"]
        torch.save(checkpoint, hostile)
    where = () if verb == "export" else ("--trainer.default_root_dir", out)
    assert run([str(word) for word in (*command, *where)]) == 2
    error = capsys.readouterr().err
    assert f"{hostile} names os.system, and a file may name only networks of" in error
    assert error.rstrip().endswith("if you trust that code, add --trust os")
    assert not (hostile.parent / "mark").exists()
    assert not out.exists()


def test_a_packed_file_runs_nothing_either(tmp_path: Path) -> None:
    about = {"net": shell(tmp_path / "mark")}
    (tmp_path / "x.safetensors").write_bytes(packed_bytes({"weight": torch.ones(1)}, {}, about))
    with pytest.raises(ValueError, match=r"names os\.system"):
        load(tmp_path / "x.safetensors")
    assert not (tmp_path / "mark").exists()


def test_lightnings_own_loader_runs_nothing_either(hostile: Path) -> None:
    with pytest.raises(ValueError, match=r"names os\.system"):
        Classifier.load_from_checkpoint(hostile, weights_only=True)
    assert not (hostile.parent / "mark").exists()


def test_a_checkpoint_names_no_data_set_of_foreign_code(
    study: Path, conf: Path, tmp_path: Path, my_nets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(study / "checkpoints/none-32/001.ckpt", weights_only=True)
    checkpoint["lit_privq"]["data"]["dataset"] = {"class_path": f"{my_nets}.Mine"}
    torch.save(checkpoint, tmp_path / "x.ckpt")
    command = ("predict", "--config", conf / "query/digits.yaml", "--ckpt_path", tmp_path / "x.ckpt")
    assert run([str(word) for word in command]) == 2
    assert f"add --trust {my_nets}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spec",
    [
        shell(Path("mark")),
        {"class_path": "torch.nn.Sequential", "init_args": {"args": [shell(Path("mark"))]}},
        {"class_path": "torch.nn.Sequential", "dict_kwargs": {"a": {"b": shell(Path("mark"))}}},
        {"class_path": "torchvision.datasets.utils.download_url", "init_args": {"url": "x", "root": "y"}},
        {"class_path": "torchvision.models._api.load_state_dict_from_url", "init_args": {"url": "x"}},
        {"class_path": "torchvision.models.get_model_builder", "init_args": {"name": "resnet18"}},
        {"class_path": "lit_privq.models.resnet.partial", "init_args": {}},
        {"class_path": "lit_privq.study.tasks.run_command", "init_args": {"argv": []}},
        {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "x", "model": "y"}},
        {"class_path": "builtins.exec", "init_args": {}},
        {"class_path": "os"},
        {"class_path": ""},
    ],
    ids=lambda spec: spec["class_path"] or "empty",
)
def test_what_makes_no_network_of_ours_is_refused_wherever_it_stands(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"--trust|can be imported"):
        build_trusted(spec, (), "x.ckpt")


@pytest.mark.parametrize("net", ["os.system", ["os.system"], None, {}, {"class_path": {"class_path": "os.system"}}])
def test_a_network_is_named_by_class_path_and_arguments_only(net: Any) -> None:
    with pytest.raises(ValueError, match=r"x\.ckpt must name its network as class_path and init_args"):
        build_trusted(net, (), "x.ckpt")


@pytest.mark.parametrize(
    "spec",
    [
        LINEAR,
        {"class_path": "torchvision.models.resnet18", "init_args": {"num_classes": 3}},
        {"class_path": "torchvision.models.get_model", "init_args": {"name": "resnet18"}},
        {"class_path": "lit_privq.models.small.small_resnet", "init_args": {"num_classes": 3}},
    ],
    ids=lambda spec: spec["class_path"],
)
def test_networks_of_torch_torchvision_and_lit_privq_need_no_trust(spec: dict[str, Any]) -> None:
    assert isinstance(build_trusted(spec, (), "x.ckpt"), nn.Module)


def test_the_users_own_package_is_trusted_by_name_only(my_nets: str) -> None:
    spec = {"class_path": f"{my_nets}.tiny", "init_args": {"num_classes": 3}}
    with pytest.raises(ValueError, match=f"names {my_nets}.tiny, .* add --trust {my_nets}$"):
        build_trusted(spec, (), "x.ckpt")
    with pytest.raises(ValueError, match=f"--trust {my_nets}"):
        build_trusted(spec, [my_nets[:-1]], "x.ckpt")
    assert isinstance(build_trusted(spec, [my_nets], "x.ckpt"), nn.Module)


def test_a_trusted_package_does_not_vouch_for_what_it_imports(my_nets: str) -> None:
    with pytest.raises(ValueError, match="add --trust subprocess"):
        build_trusted({"class_path": f"{my_nets}.run", "init_args": {"args": ["true"]}}, [my_nets], "x.ckpt")
    imported = {"class_path": f"{my_nets}.small_resnet", "init_args": {"num_classes": 3}}
    assert isinstance(build_trusted(imported, [my_nets], "x.ckpt"), nn.Module)


def test_an_own_network_goes_through_fit_predict_and_export_with_trust(
    privq: Callable[..., None], tmp_path: Path, my_nets: str
) -> None:
    net = f'{{"class_path": "{my_nets}.tiny", "init_args": {{"num_classes": 10}}}}'
    privq("fit", "shadow/digits.yaml", tmp_path, "--model.net", net, "--trainer.max_epochs", "1")
    path = tmp_path / "checkpoints/none-32/000.ckpt"
    with pytest.raises(ValueError, match=f"add --trust {my_nets}"):
        privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(path))
    privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(path), "--trust", my_nets)
    privq("validate", "shadow/digits.yaml", tmp_path, "--ckpt_path", str(path), "--model.net", net)  # named: trusted
    quantize = ("--model.checkpoint", str(path), "--model.bits", "2", "--trust", my_nets)
    privq("fit", "ptq/nearest.yaml", tmp_path, *quantize)
    quantized = tmp_path / "checkpoints/nearest-2/000.ckpt"
    export = ["export", "--ckpt", str(quantized), "--output", str(tmp_path / "x.safetensors")]
    assert run(export) == 2
    assert run([*export, "--trust", my_nets]) == 0
    with pytest.raises(ValueError, match=f"add --trust {my_nets}"):
        load(tmp_path / "x.safetensors")
    assert isinstance(load(tmp_path / "x.safetensors", trust=[my_nets]), nn.Module)
    assert isinstance(network_of(read_checkpoint(path), path, trust=[my_nets]), nn.Module)


def test_a_config_trusts_the_packages_that_its_model_and_data_name() -> None:
    model = {"net": {"class_path": "mine.Net", "init_args": {"head": {"class_path": "other.Head"}}}}
    config = {
        "model": model,
        "data": {"dataset": "data_of_mine.Set"},
        "trainer": {"callbacks": [{"class_path": "x.Y"}]},
    }
    assert packages(config) == ["data_of_mine", "mine", "other"]


def test_a_config_that_names_a_part_of_ours_does_not_trust_all_of_it() -> None:
    ours = {"model": {"class_path": "lit_privq.quantization.Calibration"}}
    assert packages(ours) == ["lit_privq.quantization.Calibration"]
    theirs = {"data": {"dataset": {"class_path": "torchvision.datasets.SVHN"}}}
    assert packages(theirs) == ["torchvision.datasets.SVHN"]
    check_trusted(theirs, packages(theirs), "x.ckpt")
    with pytest.raises(ValueError, match="--trust"):
        check_trusted({"class_path": "torchvision.datasets.utils.download_url"}, packages(theirs), "x.ckpt")


def test_a_network_is_a_module_even_where_the_user_names_it() -> None:
    with pytest.raises(ValueError, match=r"must be a torch\.nn\.Module; collections\.OrderedDict gives OrderedDict"):
        build({"class_path": "collections.OrderedDict"})


def test_networks_inside_lists_and_keyword_arguments_are_built() -> None:
    spec = {"class_path": "torch.nn.ModuleList", "init_args": {"modules": [LINEAR, LINEAR]}}
    assert repr(build(spec)) == repr(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]))
    spec = {"class_path": "lit_privq.models.small.small_resnet", "dict_kwargs": {"num_classes": 3}}
    assert repr(build(spec)) == repr(small_resnet(num_classes=3))


def test_an_optimizer_of_torch_is_no_foreign_code() -> None:
    check_trusted({"optimizer": {"class_path": "torch.optim.SGD"}, "scheduler": None}, (), "x.ckpt")
    check_trusted({"scheduler": {"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR"}}, (), "x.ckpt")
    with pytest.raises(ValueError, match=r"names subprocess\.run"):
        check_trusted({"optimizer": "subprocess.run"}, (), "x.ckpt")
