"""Regression from molecules to the page, and that classification on the same molecules is still an ordinary study."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lit_privq import audit
from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.artifacts.confidences import Dump, read_dump
from lit_privq.artifacts.construction import build
from lit_privq.attacks import LiRAOnline, Observed, RMIAOnline, score_leave_one_out
from lit_privq.classifier import Classifier, check_fits
from lit_privq.cli import run_cli
from lit_privq.data.pool import Pool
from lit_privq.export.command import load
from lit_privq.export.command import main as export
from lit_privq.metrics import auc, roc
from lit_privq.models.mlp import perceptron
from lit_privq.quantization.graph import Graph
from lit_privq.quantization.importance import output_importance
from lit_privq.study.command import main as run_study
from lit_privq.study.fleet_size import choose

pytest.importorskip("rdkit")

CORES = ("C{}", "CC{}", "CCC{}", "CC(C){}", "CCCC{}", "C1CCCC1{}", "c1ccccc1{}", "Cc1ccccc1{}", "c1ccncc1{}", "CCOC{}")
ENDS = ("O", "N", "Cl", "Br", "F", "C#N", "C(=O)O", "C(=O)N", "S", "OC", "C=O", "C(F)(F)F", "N(C)C", "CO", "C=C")
ALL = ("--data.model_index", "0:10")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of made-up molecules: a value that their features hardly tell, and whether it is above its mean."""
    folder = tmp_path_factory.mktemp("data")
    smiles = [core.format(end) for core in CORES for end in ENDS]
    values = np.random.default_rng(0).normal(3, 2, len(smiles)) + 0.2 * np.array([len(one) for one in smiles])
    with (folder / "molecules.csv").open("w", newline="") as file:
        rows = ([one, repr(float(y)), int(y > values.mean())] for one, y in zip(smiles, values, strict=True))
        csv.writer(file).writerows([["smiles", "y", "active"], *rows])
    return folder


@pytest.fixture(scope="module")
def made(privq: Callable[..., None], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten regressors, quantized, queried and audited with the default attacks; to be read, not written to."""
    folder, data = tmp_path_factory.mktemp("made"), ("--data.root", str(root))
    checkpoints = str(folder / "checkpoints" / "{variant}" / "{{index:03d}}.ckpt")
    privq("fit", "shadow/molecules_esol.yaml", folder, *ALL, *data)
    parents = ("--model.checkpoint", checkpoints.format(variant="none-32"), "--model.bits", "[2]")
    privq("fit", "ptq/nearest.yaml", folder, *ALL, *parents, *data)
    for variant in ("none-32", "nearest-2"):
        path = checkpoints.format(variant=variant)
        query = ("--ckpt_path", path, "--model.logits", "true")
        privq("predict", "query/molecules_esol.yaml", folder, *ALL, *query, *data)
    audit.main(["--input", str(folder), "--output", str(folder), "--resamples", "0", "--max_fpr", "[0.05]"])
    return folder


def checkpoint(folder: Path, variant: str, model: int) -> dict[str, Any]:
    return read_checkpoint(folder / f"checkpoints/{variant}/{model:03d}.ckpt")


def dump(folder: Path, variant: str, model: int) -> Dump:
    return read_dump(folder / f"confidence/{variant}/{model:03d}.npz")


def pool_of(root: Path, conf: Path, *, name: str = "esol") -> Pool:
    command = ["--config", str(conf / f"shadow/molecules_{name}.yaml"), "--data.root", str(root)]
    pool: Pool = run_cli(command, run=False).datamodule.pool
    return pool


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lira(dumps: list[Dump]) -> NDArray[np.float64]:
    """AUC of LiRA on every shadow by the others."""
    models = Observed([one.confidence for one in dumps], np.stack([one.members for one in dumps]))
    scores = score_leave_one_out({"lira": LiRAOnline()}, models)["lira"]
    return np.array([float(auc(roc(row, members))) for row, members in zip(scores, models.members, strict=True)])


@pytest.mark.parametrize("variant", ["none-32", "nearest-2"])
def test_a_regressors_answers_are_told_as_squared_errors_and_r_squared(
    made: Path, root: Path, conf: Path, variant: str
) -> None:
    pool = pool_of(root, conf)
    net = Classifier.load_from_checkpoint(made / f"checkpoints/{variant}/003.ckpt", weights_only=True).eval()
    found = dump(made, variant, 3)
    with torch.no_grad():
        error, test_error = (  # float32 twice, in another order
            (net(inputs)[:, 0] - labels).numpy() for inputs, labels in (
                (pool.inputs, pool.labels), (pool.test_inputs, pool.test_labels)
            )
        )  # fmt: skip
    np.testing.assert_allclose(found.confidence[:, 0], -(error**2), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.labels, pool.labels.numpy())
    assert found.logits is not None
    assert found.logits.shape == (len(pool.labels), 1, 1)
    r_squared = 1 - (test_error**2).mean() / pool.test_labels.numpy().var()
    assert found.utility == pytest.approx({"r2": r_squared, "mae": np.abs(test_error).mean()}, rel=1e-3)
    if variant == "none-32":
        assert checkpoint(made, variant, 3)["lit_privq"]["r2"] == pytest.approx(r_squared, rel=1e-3)


def test_results_hold_r_squared_and_the_mean_absolute_error_of_each_target(made: Path) -> None:
    found = {
        (row["method"], int(row["target"]), row["metric"]): float(row["value"])
        for row in rows(made)
        if not row["attacker"] and row["metric"] != "size_bytes"
    }
    assert set(found) == {(m, t, metric) for m in ("none", "nearest") for t in (8, 9) for metric in ("r2", "mae")}
    assert found["none", 9, "r2"] == pytest.approx(dump(made, "none-32", 9).utility["r2"])
    assert found["none", 9, "r2"] < 1


def test_attacks_that_need_classes_are_left_out_with_a_note_and_refused_when_asked_for(
    made: Path, tmp_path: Path
) -> None:
    attacks = {row["attack"] for row in rows(made)}
    assert "lira_online_fixed" in attacks
    assert not attacks & {"rmia_online", "rmia_offline", "base"}
    notes = json.loads((made / "metrics.json").read_text())["notes"]
    assert any("rmia_online, rmia_offline, base left out" in note for note in notes)
    assert not any("softmax" in note for note in notes)
    with pytest.raises(ValueError, match="rmia_online compares probabilities of classes, and these labels are values"):
        audit.main(["--input", str(made), "--output", str(tmp_path), "--attacks", "rmia_online", "--resamples", "0"])


def test_foreign_arrays_with_values_as_labels_are_audited_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    members = np.argsort(random.random((8, 40)), axis=0) < 4
    confidence = -random.exponential(np.where(members, 0.2, 1.0))  # (models, examples)
    labels = random.normal(size=40).astype(np.float32)
    np.savez(tmp_path / "mine.npz", members=members, confidence=confidence, labels=labels)
    options = ["--design", "leave_one_out", "--resamples", "0", "--max_fpr", "[0.1]"]
    audit.main(["--input", str(tmp_path / "mine.npz"), "--output", str(tmp_path), *options])
    assert "rmia_online" not in {row["attack"] for row in rows(tmp_path)}


def test_a_direct_call_of_such_an_attack_is_refused() -> None:
    values = np.zeros(3, np.float32)
    models = Observed(np.zeros((4, 3, 1)), np.repeat([[True], [True], [False], [False]], 3, axis=1), None, values)
    with pytest.raises(ValueError, match="rmia compares probabilities of classes"):
        score_leave_one_out({"rmia": RMIAOnline()}, models)


def test_the_page_speaks_of_r_squared_and_not_of_accuracy(made: Path) -> None:
    page = (made / "report.html").read_text(encoding="utf-8")
    for words in ("R² on the test set", "Change of R²", "Mean absolute error", "has an R² of", "predict values"):
        assert words in page
    assert "ccuracy" not in page
    assert {"tradeoff.svg", "r2.svg"} <= {path.name for path in (made / "figures").iterdir()}


def test_members_of_an_overfitted_regressor_are_found_and_those_of_an_untrained_one_are_not(
    privq: Callable[..., None], made: Path, root: Path, tmp_path: Path
) -> None:
    assert lira([dump(made, "none-32", model) for model in range(8)]).mean() > 0.75
    none = ("--trainer.max_epochs", "0", "--data.root", str(root), *ALL)
    privq("fit", "shadow/molecules_esol.yaml", tmp_path, *none)
    path = str(tmp_path / "checkpoints/none-32/{index:03d}.ckpt")
    privq("predict", "query/molecules_esol.yaml", tmp_path, "--ckpt_path", path, *ALL, "--data.root", str(root))
    found = lira([dump(tmp_path, "none-32", model) for model in range(8)])
    assert abs(found.mean() - 0.5) < 3 * 0.053 / np.sqrt(
        8
    )  # deviation of the AUC of random guessing on 60 + 60 examples


def test_a_fleet_of_regressors_equals_its_models_trained_alone(
    privq: Callable[..., None], root: Path, tmp_path: Path
) -> None:
    exact = ("--trainer.precision", "64-true", "--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "3")
    data = ("--data.root", str(root))
    privq("fit", "shadow/molecules_esol.yaml", tmp_path / "fleet", "--data.model_index", "1:4", *exact, *data)
    for model in (1, 3):
        privq("fit", "shadow/molecules_esol.yaml", tmp_path / "alone", "--data.model_index", str(model), *exact, *data)
        mine, single = (checkpoint(tmp_path / kind, "none-32", model) for kind in ("fleet", "alone"))
        for name, value in single["state_dict"].items():  # sums taken in another order
            torch.testing.assert_close(mine["state_dict"][name], value, rtol=1e-9, atol=1e-12, msg=name)
        assert mine["lit_privq"]["r2"] == pytest.approx(single["lit_privq"]["r2"], rel=1e-5)
        assert mine["hyper_parameters"] == single["hyper_parameters"]


def test_the_size_of_a_fleet_of_regressors_is_measured_on_their_own_loss(conf: Path, root: Path) -> None:
    chosen = choose(conf / "shadow/molecules_esol.yaml", ["--data.root", str(root)], jobs=2)
    assert chosen["size"] == 1 or chosen["how"] == "grouped"


def test_a_packed_regressor_predicts_what_its_checkpoint_does(
    made: Path, root: Path, conf: Path, tmp_path: Path
) -> None:
    path = made / "checkpoints/nearest-2/000.ckpt"
    export(["--ckpt", str(path), "--output", str(tmp_path / "000.safetensors")])
    inputs = pool_of(root, conf).inputs
    restored = Classifier.load_from_checkpoint(path, weights_only=True).eval()
    torch.testing.assert_close(load(tmp_path / "000.safetensors")(inputs), restored(inputs))


@pytest.mark.parametrize(
    ("name", "outputs", "message"),
    [
        ("esol", 10, r"must predict the one value that molecules_esol .* \(10,\), set .*num_classes to 1"),
        ("bbbp", 1, r"must tell the 2 classes of molecules_bbbp apart; .* \(1,\), set .*num_classes to 2"),
    ],
)
def test_a_network_of_the_other_task_is_refused(root: Path, conf: Path, name: str, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fits(perceptron(num_classes=outputs, in_features=32), pool_of(root, conf, name=name))


def test_a_network_for_other_features_is_told_how_many_there_are(
    privq: Callable[..., None], root: Path, tmp_path: Path
) -> None:
    wrong = ("--model.init_args.net.init_args.in_features", "31", "--data.root", str(root))
    with pytest.raises(ValueError, match=r"must take the inputs of molecules_esol, in shape \(32,\)"):
        privq("fit", "shadow/molecules_esol.yaml", tmp_path, *wrong)


@pytest.mark.parametrize("option", [("--data.padding", "2"), ("--data.mirror", "true")])
def test_features_are_not_shifted_or_mirrored(
    privq: Callable[..., None], root: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    with pytest.raises(
        ValueError, match=r"only images are shifted and mirrored; .* molecules_esol are float32 features \(32,\)"
    ):
        privq("fit", "shadow/molecules_esol.yaml", tmp_path, *option, "--data.root", str(root))


def test_smoothed_labels_are_refused(privq: Callable[..., None], root: Path, tmp_path: Path) -> None:
    smoothed = ("--model.init_args.label_smoothing", "0.1", "--data.root", str(root))
    with pytest.raises(ValueError, match="label_smoothing is for classes"):
        privq("fit", "shadow/molecules_esol.yaml", tmp_path, *smoothed)


def test_outputs_of_a_regressor_matter_by_their_gradients() -> None:
    net = build({"class_path": "lit_privq.models.mlp.perceptron", "init_args": {
        "num_classes": 1, "in_features": 3, "hidden": [4]
    }}).eval()  # fmt: skip
    images = torch.randn(6, 3)
    graph = Graph(net, images[:1])
    found = output_importance(graph, graph.pieces("layer"), net, images, seed=0, batch_size=4)
    squares = net.get_parameter("fc.weight").detach()[0].square()  # behind the activation, the same for all examples
    torch.testing.assert_close(found["fc"], torch.ones(1))
    torch.testing.assert_close(found["linear1"], squares / squares.mean())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metrics"), [("esol", {"r2", "mae"}), ("bbbp", {"accuracy"})])
def test_a_study_of_molecules_runs_from_its_file_to_the_page(
    conf: Path, root: Path, tmp_path: Path, name: str, metrics: set[str]
) -> None:
    config = str(conf / f"study/molecules_{name}.yaml")
    run_study(["--config", config, "--output", str(tmp_path), "--data_root", str(root), "--jobs", "1"])
    useful = {row["metric"] for row in rows(tmp_path) if not row["attacker"]}
    assert useful == metrics | {"size_bytes"}
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
