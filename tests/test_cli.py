"""What a user gets wrong is one sentence with a remedy, a status other than 0, and no file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from callbacks import WriteCheckpoints
from lit_privq.__main__ import run
from lit_privq.artifacts.confidences import Dump, read_dump, write_dump
from lit_privq.cli import run_cli, with_checkpoints_data

VERBS = [
    "fit",
    "validate",
    "test",
    "predict",
    "audit",
    "study",
    "publish",
    "job",
    "report",
    "export",
    "indicator",
    "reproduce",
    "completion",
]


def told(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    """What a command says when it fails."""
    status = run([str(word) for word in command])
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("lit_privq: error: ")]
    assert status == 2, error
    assert len(said) == 1, error
    assert error.splitlines()[-1] == said[0]
    assert "Traceback" not in error
    return said[0].removeprefix("lit_privq: error: ")


def test_the_help_lists_every_verb_with_an_example_and_imports_nothing_heavy() -> None:
    probe = "import sys, runpy; sys.argv = ['lit_privq', '--help']\ntry: runpy.run_module('lit_privq', run_name='__main__')\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout
        assert f"e.g. python -m lit_privq {verb} " in done.stdout
    assert not {"torch", "lightning", "numpy", "jsonargparse", "yaml"} & set(done.stderr.split())


def test_an_unknown_verb_and_none_at_all_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "fti") == f"no verb 'fti'; there are {', '.join(VERBS)}"
    assert run([]) == 2
    assert "usage: python -m lit_privq VERB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named", "remedy"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml", "does not exist"),
        (["--model.net.class_path", "lit_privq.models.small.tiny_resnet"], "tiny_resnet", "--help"),
        (["--model.net.class_path", "nowhere.Net"], "No module named 'nowhere'", "--help"),
        (["--model", "lit_privq.nowhere.Net"], "lit_privq.nowhere.Net", "--help"),
        (["--data.modle_index", "3"], "--data.modle_index", "--help lists the options"),
        (["--model.optimiser.lr", "3"], "--optimiser.lr", "--help lists the options"),
        (["--data.batch_size", "many"], "many", "Expected a <class 'int'>"),
        (["--data.n_shadows", "5"], "n_shadows must be even", "use 4 or 6"),
        (["--data.model_index", "99"], "'99'", "within 0 to 5"),
        (["--model.net.init_args.num_classes", "7"], "10 classes of digits", "set model.net.init_args.num_classes"),
        (["--model.net.init_args.in_channels", "3"], "inputs of digits", "correct model.net.init_args"),
        (["--data.dataset", "lit_privq.data.vision.CIFAR10", "--data.root", "nowhere"], "CIFAR10 lacks", "download"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str], conf: Path, tmp_path: Path, options: list[str], named: str, remedy: str
) -> None:
    out = tmp_path / "out"
    said = told(capsys, "fit", "--config", conf / "shadow/digits.yaml", "--trainer.default_root_dir", out, *options)
    assert named in said
    assert remedy in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("bits", "named"),
    [
        ("0.5", "layer conv1: bits must lie between 1 and 8"),
        ("two", "Given value: two"),
        ('{"*": 2, "head": 8}', "pattern 'head' of bits matches no layer; the layers are conv1"),
    ],
)
def test_bits_that_cannot_be_meant_are_refused(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path, bits: str, named: str
) -> None:
    parent = study / "checkpoints/none-32/000.ckpt"
    command = ("fit", "--config", conf / "ptq/nearest.yaml", "--model.checkpoint", parent, "--model.bits", bits)
    assert named in told(capsys, *command, "--trainer.default_root_dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["fit", "predict", "validate"])
def test_a_truncated_or_missing_checkpoint_is_refused_by_every_verb(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path, verb: str
) -> None:
    path, out = tmp_path / "x.ckpt", tmp_path / "out"
    command = {
        "fit": ("fit", "--config", conf / "ptq/nearest.yaml", "--model.bits", "2", "--model.checkpoint", path),
        "predict": ("predict", "--config", conf / "query/digits.yaml", "--ckpt_path", path),
        "validate": ("validate", "--config", conf / "shadow/digits.yaml", "--ckpt_path", path),
    }[verb]
    said = told(capsys, *command, "--trainer.default_root_dir", out)
    assert said == f"no checkpoint {path}; train or quantize that model first, with fit"
    path.write_bytes((study / "checkpoints/none-32/000.ckpt").read_bytes()[:4000])
    said = told(capsys, *command, "--trainer.default_root_dir", out)
    assert said == f"checkpoint {path} is damaged (RuntimeError); delete it and make it again"
    assert not out.exists()


def test_a_checkpoint_of_another_network_is_refused(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path
) -> None:
    checkpoint = torch.load(study / "checkpoints/none-32/000.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["net"]["init_args"]["width"] = 6
    torch.save(checkpoint, tmp_path / "x.ckpt")
    command = ("predict", "--config", conf / "query/digits.yaml", "--ckpt_path", tmp_path / "x.ckpt")
    said = told(capsys, *command, "--trainer.default_root_dir", tmp_path / "out")
    assert f"the weights in {tmp_path / 'x.ckpt'} belong to another network: size mismatch for conv1.weight" in said
    assert not (tmp_path / "out").exists()


def test_a_pattern_without_indices_is_asked_for_them(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path
) -> None:
    pattern = study / "checkpoints/none-32/{index:03d}.ckpt"
    said = told(capsys, "predict", "--config", conf / "query/digits.yaml", f"--ckpt_path={pattern}")
    assert said == f"{pattern} stands for many checkpoints; say which with --data.model_index 0:16"


@pytest.mark.parametrize("verb", ["fit", "predict", "audit"])
def test_an_output_that_cannot_be_written_to_is_refused(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path, verb: str
) -> None:
    file = tmp_path / "file"
    file.write_text("in the place of a folder")
    command = {
        "fit": ("fit", "--config", conf / "shadow/digits.yaml", "--trainer.default_root_dir", file / "out"),
        "predict": (
            "predict", "--config", conf / "query/digits.yaml", "--ckpt_path", study / "checkpoints/none-32/000.ckpt",
            "--trainer.default_root_dir", file,
        ),
        "audit": ("audit", "--config", conf / "audit/digits.yaml", "--input", study / "confidence", "--output", file),
    }[verb]  # fmt: skip
    assert str(file) in told(capsys, *command)
    assert file.read_text() == "in the place of a folder"


def test_a_read_only_folder_is_refused_before_any_training(
    capsys: pytest.CaptureFixture[str], conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(
        "os.access", lambda path, mode: mode != os.W_OK and access(path, mode)
    )  # root may write anywhere
    command = ("fit", "--config", conf / "shadow/digits.yaml", "--trainer.default_root_dir", tmp_path / "a/b")
    said = told(capsys, *command)
    assert said.startswith(f"nothing can be written to {tmp_path / 'a/b'}: {tmp_path} is read-only; set another")


def test_a_dump_of_another_data_set_stops_the_audit(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path
) -> None:
    for index in range(6):
        dump = read_dump(study / f"confidence/none-32/{index:03d}.npz")
        meta = {**dump.meta, "fingerprint": "another"} if index == 3 else dump.meta
        write_dump(tmp_path / f"confidence/none-32/{index:03d}.npz", Dump(**{**vars(dump), "meta": meta}))
    command = ("audit", "--config", conf / "audit/digits.yaml", "--input", tmp_path / "confidence")
    said = told(capsys, *command, "--output", tmp_path / "out")
    assert "3" in said
    assert "fingerprint" in said
    assert not (tmp_path / "out/results.csv").exists()


def test_a_dump_with_nan_stops_the_audit(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path
) -> None:
    for index in range(6):
        arrays = dict(np.load(study / f"confidence/none-32/{index:03d}.npz"))
        if index == 2:
            arrays["confidence"][5, 0] = np.nan
        (tmp_path / "confidence/none-32").mkdir(parents=True, exist_ok=True)
        np.savez(tmp_path / f"confidence/none-32/{index:03d}.npz", **arrays)
    command = ("audit", "--config", conf / "audit/digits.yaml", "--input", tmp_path / "confidence")
    said = told(capsys, *command, "--output", tmp_path / "out")
    assert "none-32/002.npz" in said
    assert "NaN" in said
    assert not (tmp_path / "out/results.csv").exists()


def test_a_traceback_is_there_for_who_asks(
    privq: Callable[..., None], conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_PRIVQ_TRACEBACK", "1")
    with pytest.raises(ValueError, match="n_shadows must be even"):
        run(["fit", "--config", str(conf / "shadow/digits.yaml"), "--data.n_shadows", "5"])


@pytest.mark.parametrize("option", [["--data_root", "sets"], ["--data_root=sets"], ["--data.root", "sets"]])
def test_the_folder_of_the_data_is_taken_as_fit_and_study_spell_it(option: list[str]) -> None:
    arguments = with_checkpoints_data(["fit", "--config", "shadow.yaml", *option])
    assert arguments == ["fit", "--config", "shadow.yaml", "--data.root", "sets"]


@pytest.fixture(scope="module")
def stopped(privq: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a training that stopped after three of its six epochs."""
    path = tmp_path_factory.mktemp("stopped") / "state.ckpt"

    def stop(_: object, trainer: L.Trainer, __: object) -> None:
        if trainer.current_epoch == 2:
            trainer.save_checkpoint(path)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WriteCheckpoints, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            privq("fit", "shadow/digits.yaml", path.parent)
    return path


def test_a_fit_goes_on_from_the_state_of_one_that_stopped(
    privq: Callable[..., None], stopped: Path, study: Path, tmp_path: Path
) -> None:
    privq("fit", "shadow/digits.yaml", tmp_path, "--ckpt_path", str(stopped))
    whole, resumed = (folder / "checkpoints/none-32/000.ckpt" for folder in (study, tmp_path))
    assert torch.load(resumed, weights_only=True)["epoch"] == torch.load(whole, weights_only=True)["epoch"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("loops"), "must be the state of a training that stopped; "),
        (lambda state: state.pop("optimizer_states"), "must be the state of a training that stopped; "),
        (lambda state: state.update({"pytorch-lightning_version": "1.5.0"}), "was written by Lightning 1.5.0, and"),
        (
            lambda state: state["state_dict"].pop("net.fc.bias"),
            "of net.fc.bias it has shape None, and the network (10,)",
        ),
        (
            lambda state: state["state_dict"].update({"net.fc.bias": torch.zeros(3)}),
            "it has shape (3,), and the network",
        ),
        (lambda state: state["hyper_parameters"].update({"old": 3}), "unexpected keyword argument 'old'"),
    ],
    ids=["no loops", "no optimizer", "old Lightning", "missing weight", "another shape", "unknown option"],
)
def test_a_fit_that_cannot_go_on_says_so_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
    conf: Path,
    stopped: Path,
    tmp_path: Path,
    change: Callable[..., None],
    said: str,
) -> None:
    state = torch.load(stopped, weights_only=True)
    change(state)
    torch.save(state, tmp_path / "x.ckpt")
    command = ("fit", "--config", conf / "shadow/digits.yaml", "--ckpt_path", tmp_path / "x.ckpt")
    assert said in told(capsys, *command, "--trainer.default_root_dir", tmp_path / "out")
    assert not (tmp_path / "out/checkpoints").exists()


def test_a_fit_does_not_go_on_from_a_finished_model(
    capsys: pytest.CaptureFixture[str], conf: Path, study: Path, tmp_path: Path
) -> None:
    path = study / "checkpoints/none-32/000.ckpt"
    said = told(
        capsys, "fit", "--config", conf / "shadow/digits.yaml", "--ckpt_path", path,
        "--trainer.default_root_dir", tmp_path / "out",
    )  # fmt: skip
    assert f"{path} holds a model and no such state: leave --ckpt_path out" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainer.accelerator", "gpu"], "No supported gpu backend found!; correct its options"),
        (["--model.net.class_path", "my_nett.Net"], "model.net: there is no class or function my_nett.Net (No module"),
        (["--model.optimizer", "torch.optim.SGDD"], "model.optimizer: there is no class or function torch.optim.SGDD"),
        (
            ["--data.dataset", "lit_privq.data.Digitss"],
            "data.dataset: there is no class or function lit_privq.data.Dig",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence(
    capsys: pytest.CaptureFixture[str], conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    command = ("fit", "--config", conf / "shadow/digits.yaml", "--trainer.default_root_dir", tmp_path / "out")
    sentence = told(capsys, *command, *options)
    assert said in sentence
    assert len(sentence) < 300


def test_what_is_typed_before_a_config_wins_over_it(conf: Path) -> None:
    cli = run_cli(["--trainer.max_epochs", "3", "--config", str(conf / "shadow/digits.yaml")], run=False)
    assert cli.config.trainer.max_epochs == 3


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_the_program_and_shows_no_address(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit) as end:
        run([verb, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code in (0, None)
    assert shown.startswith("usage: python -m lit_privq")
    assert " at 0x" not in shown
    assert "__main__" not in shown
