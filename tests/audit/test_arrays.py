from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import Observed, reference, score_held_out, score_leave_one_out, standard
from lit_privq.audit import main
from lit_privq.audit.arrays import find_study, read_arrays

CONFIGS = Path(__file__).parents[2] / "configs" / "audit"
STRANGER = """
import sys, numpy as np
random = np.random.default_rng(0)
seen = np.argsort(random.random((10, 50)), axis=0) < 5
labels = random.integers(4, size=50)
logits = random.normal(size=(10, 50, 2, 4)).astype("float32")
for model in range(10):
    logits[model, np.arange(50), :, labels] += 2 * seen[model][:, None]
np.savez(sys.argv[1], logits=logits, labels=labels, members=seen)
"""


def arrays(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    members = np.argsort(random.random((10, 40)), axis=0) < 5
    confidence = random.normal(size=(10, 40, 2)) + members[..., None]
    both = {"confidence": confidence.astype(np.float32), "members": members, **changes}
    return {name: array for name, array in both.items() if array is not None}


def lonely(inside: bool) -> NDArray[np.bool_]:
    """Every other model has members and others, but all examples except the last have one group only."""
    members = np.full((10, 40), inside)
    members[1::2, -1] = not inside
    return members


def save(path: Path, **changes: Any) -> Path:
    np.savez(path, **arrays(**changes))
    return path


def audit(source: Path, output: Path, *options: str) -> None:
    main(["--input", str(source), "--output", str(output), "--resamples", "20", *options])


def test_a_stranger_s_npz_is_audited_from_logits(tmp_path: Path, page: list[Path]) -> None:
    source = tmp_path / "mine.npz"
    subprocess.run([sys.executable, "-c", STRANGER, str(source)], check=True)
    audit(source, tmp_path / "out", "--targets", "8:10")
    with np.load(tmp_path / "out" / "scores.npz") as scores:
        assert scores["targets"].tolist() == [8, 9]
        assert scores["members"].shape == scores["lira_online_fixed"].shape == (2, 50)
        assert set(scores) == {*standard(), "targets", "members"}
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["dataset"], row["method"], row["bits"], row["attacker"]) for row in rows} == {
        ("mine", "none", "32", "unaware")
    }
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["means"]


def test_the_page_of_a_stranger_s_audit_is_drawn(tmp_path: Path) -> None:
    audit(save(tmp_path / "mine.npz"), tmp_path, "--targets", "8:10", "--attacks", "lira_online_fixed", "threshold")
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_and_a_folder_of_npy_say_the_same(tmp_path: Path, page: list[Path], compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "mine.npz", **arrays())
    (tmp_path / "mine").mkdir()
    for name, array in arrays().items():
        np.save(tmp_path / "mine" / f"{name}.npy", array)
    for source in ("mine.npz", "mine"):
        audit(tmp_path / source, tmp_path / "out" / source, "--design", "leave_one_out")
    one, other = ((tmp_path / "out" / source / "results.csv").read_text() for source in ("mine.npz", "mine"))
    assert one == other


def test_leave_one_out_takes_all_rows_or_those_named(tmp_path: Path, page: list[Path]) -> None:
    source = save(tmp_path / "mine.npz")
    models = Observed(arrays()["confidence"], arrays()["members"])
    for options, rows in (([], range(10)), (["--targets", "0:2", "7"], [0, 1, 7])):
        audit(source, tmp_path, "--design", "leave_one_out", *options)
        with np.load(tmp_path / "scores.npz") as scores:
            assert scores["targets"].tolist() == list(rows)
            expected = score_leave_one_out(standard(), models, rows)
            np.testing.assert_array_equal(scores["lira_online"], expected["lira_online"])


def test_confidence_without_a_query_axis_is_one_query(tmp_path: Path, page: list[Path]) -> None:
    audit(save(tmp_path / "mine.npz", confidence=arrays()["confidence"][..., 0]), tmp_path, "--targets", "9")
    assert (tmp_path / "scores.npz").is_file()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"members": None}, [], "must hold members"),
        ({"confidence": None}, [], "must hold members, and confidence or logits and labels; it holds members"),
        ({"members": np.full((10, 40), 2)}, [], "members must be boolean .* got int64 with the value 2"),
        ({"members": np.zeros((10, 39), bool)}, [], "confidence must be .* with the models and examples of members"),
        ({"members": np.zeros((9, 40), bool)}, [], "got 10 models"),
        ({"members": np.arange(10)[:, None] > np.zeros(40)}, [], "row 9 has 40 members; leave it out"),
        ({"members": np.zeros((10, 40), bool)}, [], "row 9 has 0 members; leave it out"),
        ({"members": lonely(True)}, [], "for 39 examples, the first is 0, there is none that did not train"),
        ({"members": lonely(False)}, [], "for 39 examples, the first is 0, there is none that trained"),
        ({"confidence": np.float32(1)}, [], r"confidence must be \(models, examples, queries\), .* got shape \(\)"),
        ({"confidence": np.zeros((10, 40, 0), np.float32)}, [], r"at least one of each; got shape \(10, 40, 0\)"),
        ({"members": np.zeros((10, 0), bool)}, [], r"members must be .* at least one of each; got shape \(10, 0\)"),
        ({"labels": np.zeros(39, int)}, [], r"labels must be \(40,\) integers, or floats where .* got int64 \(39,\)"),
        ({"labels": np.full(40, "cat")}, [], r"labels must be \(40,\) integers"),
        (
            {"logits": np.zeros((10, 40, 1, 3)), "labels": np.zeros(40)},
            [],
            r"labels must be \(40,\) integers; got float64",
        ),
        (
            {"labels": np.zeros(40)},
            [],
            "whole numbers kept as floats, .* keep classes as integers, or name",
        ),
        ({"labels": np.zeros(40, int), "values": np.zeros(40)}, [], "got both; leave one of them out"),
        ({"labels": np.ones((40, 3), int)}, [], r"labels must be \(40,\) integers, .* got int64 \(40, 3\)"),
        ({"labels": np.full((40, 2), 0.5)}, [], r"labels must be \(40,\) integers, .* got float64 \(40, 2\)"),
        ({"labels": np.full(40, np.nan)}, [], "labels must be finite; 40 of 40 .* example 0"),
        ({"logits": np.zeros((10, 40, 1, 3)), "labels": np.zeros(40, int)}, [], "of the same queries; got 1 and 2"),
        ({"confidence": np.zeros((10, 40, 2), np.float16)}, [], "must be float32 or float64; got float16"),
        ({"confidence": np.full((10, 40, 2), np.inf)}, [], "model 0 has NaN or infinity for 40 of 40 examples"),
        ({}, ["--targets", "8:12"], "targets must be rows of the input, 0 to 9; got '8:12'"),
        ({}, ["--targets", "last"], "such as 64:74 or 3; got 'last'"),
        ({}, ["--targets", "0:10"], "must leave shadows over"),
        ({}, ["--targets", "0:8"], "needs at least 2 shadows|there is none"),
        ({}, ["--attacks", "liar"], "no attack is named liar; there are lira_online_fixed"),
        ({}, ["--max_fpr", "[0.01, 1.5]"], r"fractions in \(0, 1\], 0.001 for 0.1 %; got 1.5"),
        ({}, ["--resamples", "1"], r"resamples must be 0 \(no intervals\) or at least 2; got 1"),
        ({}, ["--design", "both"], "design"),
        ({}, ["--atacks", "threshold"], "atacks"),
    ],
)
def test_bad_input_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], options: list[str], message: str
) -> None:
    source = save(tmp_path / "mine.npz", **changes)
    with pytest.raises(ValueError, match=message):
        audit(source, tmp_path / "out", "--targets", "9", *options)
    assert not (tmp_path / "out" / "scores.npz").exists()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((10, 40)), np.full(40, 2), r"logits must be \(models, examples, queries, classes\)"),
        (np.zeros((10, 39, 3)), np.zeros(40, int), r"logits must be \(models, examples, queries, classes\)"),
        (np.zeros((10, 40, 1, 1)), np.full(40, 2), "a confidence needs at least two classes; got 1"),
        (np.zeros((10, 40, 1, 3)), np.zeros(39, int), r"labels must be \(40,\) integers"),
        (np.zeros((10, 40, 1, 3)), np.full(40, 3), r"labels must lie in \[0, 3\); 40 do not"),
        (np.full((10, 40, 1, 3), np.nan), np.zeros(40, int), "logits must be finite; model 0"),
        (np.zeros((10, 40, 1, 3), np.float16), np.zeros(40, int), "got float16"),
        (np.full((10, 40, 1, 3), "a"), np.zeros(40, int), "logits must be float32 or float64, .* got <U1"),
    ],
)
def test_bad_logits_are_refused_by_name(
    tmp_path: Path, logits: NDArray[Any], labels: NDArray[Any], message: str
) -> None:
    source = save(tmp_path / "mine.npz", confidence=None, logits=logits, labels=labels)
    with pytest.raises(ValueError, match=message):
        audit(source, tmp_path, "--targets", "9")


def test_held_out_targets_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be named among 10 models, as in --targets 1:10"):
        audit(save(tmp_path / "mine.npz"), tmp_path)


def test_a_target_without_others_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    members = arrays()["members"].copy()
    members[9] = False
    with pytest.raises(ValueError, match="row 9 has 0 members"):
        audit(save(tmp_path / "mine.npz", members=members), tmp_path / "out", "--targets", "9")
    assert not (tmp_path / "out" / "scores.npz").exists()


def test_labels_that_are_values_make_it_a_regression(tmp_path: Path, page: list[Path]) -> None:
    audit(save(tmp_path / "mine.npz", labels=np.linspace(0, 1, 40)), tmp_path, "--targets", "8:10")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert any("rmia_online" in note and "left out" in note for note in content["notes"])


def test_what_was_run_is_recorded_and_what_was_not_is_said(tmp_path: Path, page: list[Path]) -> None:
    config = CONFIGS / "reference.yaml"
    audit(save(tmp_path / "mine.npz"), tmp_path, "--targets", "8:10", "--config", str(config))
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["audit"]["equal_groups"] is True
    assert content["audit"]["paired"] == {}
    assert len(content["audit"]["attacks"]) == 5
    assert not any("temperature" in note for note in content["notes"])
    assert any("of lira_online and lira_online_fixed only" in note for note in content["notes"])
    audit(save(tmp_path / "mine.npz"), tmp_path, "--design", "leave_one_out")
    notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert any("rmia_online, rmia_offline, base from confidences alone" in note for note in notes)
    assert any("no thresholds from shadows" in note for note in notes)


def test_the_reference_s_groups_are_cut(tmp_path: Path, page: list[Path]) -> None:
    members = np.random.default_rng(1).random((14, 40)) < 0.5
    confidence = np.random.default_rng(0).normal(size=(14, 40, 1)) + members[..., None]
    source = save(tmp_path / "mine.npz", members=members, confidence=confidence)
    options = ("--config", str(CONFIGS / "reference.yaml"), "--targets", "12:14")
    found = []
    for more in ((), ("--equal_groups", "false")):
        audit(source, tmp_path, *options, *more)
        with np.load(tmp_path / "scores.npz") as scores:
            found.append(scores["lira_online"])
    models = Observed(confidence, members)
    shadows, targets = models.models(range(12)), models.models([12, 13])
    cut = score_held_out(reference(), shadows, targets, equal_groups=True)["lira_online"]
    np.testing.assert_array_equal(found[0], cut)
    assert (found[1] != cut).any()


def test_the_best_balanced_accuracy_lies_in_its_own_interval(tmp_path: Path, page: list[Path]) -> None:
    random = np.random.default_rng(0)
    members = np.argsort(random.random((10, 200)), axis=0) < 5
    source = save(tmp_path / "mine.npz", members=members, confidence=random.normal(size=(10, 200)) + members)
    audit(source, tmp_path, "--design", "leave_one_out", "--attacks", "threshold")
    with (tmp_path / "results.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row["metric"] == "balanced_accuracy"]
    assert len(found) == 10
    for row in found:
        assert float(row["low"]) < float(row["value"]) < float(row["high"])  # resamples alone lie above


def test_progress_is_told_target_by_target(
    tmp_path: Path, page: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    audit(save(tmp_path / "mine.npz"), tmp_path, "--targets", "8:10")
    assert "drawing intervals, target 2/2" in capsys.readouterr().err


def test_a_damaged_file_of_a_folder_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "members.npy", arrays()["members"])
    (tmp_path / "confidence.npy").write_text("no array")
    with pytest.raises(ValueError, match=r"confidence.npy is damaged or no array of numbers"):
        audit(tmp_path, tmp_path / "out", "--targets", "9")


def test_what_is_no_array_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(ValueError, match=r"text.npz is truncated or no .npz"):
        audit(tmp_path / "text.npz", tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no "):
        audit(tmp_path / "nothing.npz", tmp_path)
    whole = save(tmp_path / "mine.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.npz is truncated"):
        audit(tmp_path / "cut.npz", tmp_path)


def test_an_attack_of_one_s_own_is_a_class_path(tmp_path: Path, page: list[Path]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("define: {mine: {class_path: lit_privq.attacks.LiRAOffline, init_args: {centre: mean}}}\n")
    audit(save(tmp_path / "mine.npz"), tmp_path, "--config", str(config), "--targets", "9")
    with np.load(tmp_path / "scores.npz") as scores:
        assert set(scores) == {"mine", "targets", "members"}


def test_the_audit_imports_neither_torch_nor_lightning_nor_matplotlib() -> None:
    heavy = "{'torch', 'lightning', 'matplotlib', 'scipy.stats', 'sklearn', 'wandb'}"
    script = f"import sys, lit_privq.audit, lit_privq.artifacts.confidences; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def same_scores(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Audit both inputs, which must give the same results; the notes of the second."""
    for name, given in (("one", one), ("other", other)):
        np.savez(tmp_path / f"{name}.npz", **given)
        audit(tmp_path / f"{name}.npz", tmp_path / name, "--targets", "8:10", "--report", "false")
    first, second = ((tmp_path / name / "scores.npz").read_bytes() for name in ("one", "other"))
    assert first == second
    notes: list[str] = json.loads((tmp_path / "other" / "metrics.json").read_text())["notes"]
    return notes


def classified(classes: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((8, 60)), axis=0) < 4, random.random((2, 60)) < 0.5])
    labels = random.integers(classes, size=60)
    logits = random.normal(size=(10, 60, 1, classes)).astype(np.float32)
    logits[:, np.arange(60), 0, labels] += 2 + 2 * members
    return {"members": members, "logits": logits, "labels": labels}


def test_logits_of_one_query_need_no_query_axis(tmp_path: Path) -> None:
    given = classified()
    same_scores(tmp_path, given, {**given, "logits": given["logits"][:, :, 0]})


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64])
def test_members_may_be_zero_and_one(tmp_path: Path, kind: type) -> None:
    given = classified()
    same_scores(tmp_path, given, {**given, "members": given["members"].astype(kind)})


def test_numbers_may_be_in_either_order_of_bytes(tmp_path: Path) -> None:
    given = classified()
    turned = {"logits": given["logits"].astype(">f4"), "labels": given["labels"].astype(">i8")}
    same_scores(tmp_path, given, {**given, **turned})
    same_scores(tmp_path, arrays(), {**arrays(), "confidence": arrays()["confidence"].astype(">f4")})


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
def test_one_hot_labels_are_the_place_of_the_one_and_this_is_said(tmp_path: Path, kind: type) -> None:
    given = classified()
    notes = same_scores(tmp_path, given, {**given, "labels": np.eye(3)[given["labels"]].astype(kind)})
    assert any("labels are one-hot, (examples, 3)" in note for note in notes)


def test_labels_may_be_a_column(tmp_path: Path) -> None:
    given = classified()
    same_scores(tmp_path, given, {**given, "labels": given["labels"][:, None]})


@pytest.mark.parametrize("axes", [(), (None,), (None, None)])
@pytest.mark.parametrize("kind", [bool, np.int64])
def test_one_logit_for_two_classes_is_the_log_odds_of_class_one(
    tmp_path: Path, axes: tuple[None, ...], kind: type
) -> None:
    given = classified(2)
    odds = given["logits"][..., 0, 1] - given["logits"][..., 0, 0]  # (models, examples)
    pair = np.stack([np.zeros_like(odds), odds], axis=-1)[:, :, None]
    single = {**given, "logits": odds[(..., *axes)], "labels": given["labels"].astype(kind)}
    notes = same_scores(tmp_path, {**given, "logits": pair}, single)
    assert any("one output for two classes" in note for note in notes)
    signed = np.where(given["labels"] == 1, odds, -odds)
    np.testing.assert_array_equal(read_arrays(tmp_path / "other.npz")[0].confidence, signed[..., None])


def test_a_folder_with_one_npz_is_that_npz_even_when_an_audit_was_written_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    save(folder / "any.npz")
    for _ in range(2):
        audit(folder, folder, "--targets", "9", "--attacks", "threshold", "--report", "false")
        assert (folder / "scores.npz").is_file()
    save(folder / "another.npz")
    with pytest.raises(ValueError, match=r"must hold .npy files, or one .npz; it holds 2 .npz files: another.npz, any"):
        audit(folder, folder, "--targets", "9")


def test_further_arrays_are_ignored_with_a_word_even_if_they_are_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = np.array(["a", None], dtype=object)
    notes = same_scores(tmp_path, arrays(), {**arrays(), "epochs": np.zeros(3), "names": names})
    assert any("ignored, as an audit takes no array of that name: epochs, names" in note for note in notes)
    assert capsys.readouterr().err.count("takes no array of that name") == 1
    np.savez(tmp_path / "bad.npz", **{**arrays(), "confidence": names})
    with pytest.raises(ValueError, match=r"confidence.npy in bad.npz is damaged or no array of numbers"):
        audit(tmp_path / "bad.npz", tmp_path)


def test_a_folder_of_npy_stays_one_when_its_audit_was_written_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, array in arrays().items():
        np.save(folder / f"{name}.npy", array)
    for _ in range(2):
        audit(folder, folder / "out", "--targets", "9", "--attacks", "threshold", "--report", "false")
    assert find_study(folder) is None


def test_whole_values_are_a_regression_under_the_name_values(tmp_path: Path) -> None:
    notes = same_scores(tmp_path, arrays(labels=np.arange(40) + 0.5), arrays(values=np.arange(40)))
    assert any("rmia_online" in note and "left out" in note for note in notes)


def test_notes_promise_no_thresholds_that_were_not_made(tmp_path: Path) -> None:
    members = np.vstack([np.eye(4, dtype=bool)[:, np.arange(40) % 4], np.arange(40)[None] % 2 == 0])  # one shadow is in
    source = save(tmp_path / "mine.npz", members=members, confidence=arrays()["confidence"][:5])
    audit(source, tmp_path, "--targets", "4", "--attacks", "threshold", "--report", "false")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["thresholds"] == []
    assert any("no thresholds from shadows: too few shadows for threshold" in note for note in content["notes"])
    assert not any("thresholds from shadows, and what they reach" in note for note in content["notes"])


def test_ties_far_below_a_bound_are_said_with_the_rate_that_they_reach(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((8, 400)), axis=0) < 4, random.random((2, 400)) < 0.5])
    capped = np.minimum(np.round(random.normal(size=(10, 400)) + members), 1)
    source = save(tmp_path / "mine.npz", members=members, confidence=capped)
    audit(source, tmp_path, "--targets", "8:10", "--attacks", "threshold", "--max_fpr", "0.1", "--report", "false")
    notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert any("tpr_at_0.1: equal scores" in note and "threshold on none-32 (unaware, 0 %)" in note for note in notes)
    with (tmp_path / "results.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert rows["tpr_at_0.1"]["fpr"] == "0.0"
    assert rows["auc"]["fpr"] == ""
