from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_privq.artifacts.confidences import Dump, read_dump, write_dump
from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.results import Key, read_results
from lit_privq.artifacts.scores import read_scores
from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Observed, paired, reference, score_held_out, standard
from lit_privq.audit import main

Study = Callable[..., Path]
QUICK = ["--attacks", "lira_online_fixed", "threshold", "--resamples", "20"]


def table(output: Path) -> list[dict[str, str]]:
    with (output / "results.csv").open() as file:
        return list(csv.DictReader(file))


def audit(folder: Path, output: Path, *options: str) -> list[dict[str, str]]:
    main(["--input", str(folder), "--output", str(output), *options])
    return table(output)


def rewrite(path: Path, **changes: Any) -> None:
    """Write a dump again with other arrays."""
    dump = read_dump(path)
    copied = {
        f.name: np.array(v) for f in dataclasses.fields(dump) if isinstance(v := getattr(dump, f.name), np.ndarray)
    }
    write_dump(path, dataclasses.replace(dump, **{**copied, **changes}))


def test_every_attacker_sees_every_variant_it_can(study: Study, tmp_path: Path, page: list[Path]) -> None:
    rows = audit(study(), tmp_path, *QUICK)
    seen = {(row["method"], row["last_bits"], row["attacker"]) for row in rows if row["attack"] == "lira_online_fixed"}
    assert seen == {
        ("none", "32", "unaware"),
        ("adaround", "8", "unaware"),
        ("adaround", "8", "adaptive"),
        ("adaround", "8", "paired"),
        ("nearest", "2", "unaware"),
    }
    assert {row["target"] for row in rows} == {"8", "9"}
    assert Counter(row["metric"] for row in rows if not row["attacker"]) == {"accuracy": 6}
    assert page == [tmp_path]


def test_targets_of_a_study_are_not_for_the_asking(study: Study, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a study knows its own targets; got targets 0:3"):
        audit(study(), tmp_path, *QUICK, "--targets", "0:3")


def test_the_reference_s_config_runs_its_five_attacks_and_no_others(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    config = Path(__file__).parents[2] / "configs/audit/reference.yaml"
    rows = audit(study(), tmp_path, "--config", str(config), "--resamples", "20")
    assert {row["attacker"] for row in rows if row["attack"]} == {"unaware", "adaptive"}
    assert {row["attack"] for row in rows if row["attack"]} == set(reference())


def test_the_paired_attacks_are_on_record(study: Study, tmp_path: Path, page: list[Path]) -> None:
    audit(study(), tmp_path, *QUICK)
    record = json.loads((tmp_path / "metrics.json").read_text())["audit"]
    assert record["paired"] == {"lira_online_fixed": repr(paired()["lira_online_fixed"])}


def test_the_paired_attacker_runs_what_was_asked_for(study: Study, tmp_path: Path) -> None:
    rows = audit(study(), tmp_path, "--attacks", "threshold", "--resamples", "20")
    assert {(row["attacker"], row["attack"]) for row in rows if row["attacker"]} == {
        ("unaware", "threshold"),
        ("adaptive", "threshold"),
    }
    assert (tmp_path / "report.html").is_file()


def test_an_operating_point_below_one_false_positive_is_empty(study: Study, tmp_path: Path, page: list[Path]) -> None:
    rows = audit(study(), tmp_path, *QUICK, "--max_fpr", "[0.001, 0.1]")
    values = {row["metric"]: row for row in rows if row["attack"] == "threshold"}
    assert values["tpr_at_0.001"]["value"] == values["tpr_at_0.001"]["low"] == ""
    assert 0 <= float(values["tpr_at_0.1"]["low"]) <= float(values["tpr_at_0.1"]["high"]) <= 1
    assert any("no room for one false positive" in note for note in metrics(tmp_path)["notes"])


def metrics(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return content


def test_scores_are_those_of_the_importable_function(study: Study, tmp_path: Path, page: list[Path]) -> None:
    folder = study()
    audit(folder, tmp_path, "--resamples", "0")
    dumps = [read_dump(folder / "adaround-1.58-last8" / f"{i:03d}.npz") for i in range(10)]
    models = Observed([d.confidence for d in dumps], np.stack([d.members for d in dumps]))
    expected = score_held_out(standard(), models.models(range(8)), models.models([8, 9]))
    with np.load(tmp_path / "audit" / "adaround-1.58-last8" / "adaptive.npz") as saved:
        assert set(saved) == {*expected, "targets", "members"}
        assert saved["targets"].tolist() == [8, 9]
        np.testing.assert_array_equal(saved["members"], models.members[8:])
        for name, scores in expected.items():
            np.testing.assert_array_equal(saved[name], scores)


def test_metrics_hold_means_changes_focus_thresholds_epsilon_and_examples(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    audit(study(), tmp_path, "--attacks", "lira_online_fixed", "--resamples", "50", "--max_fpr", "[0.1]")
    found = read_measures(tmp_path / "metrics.json", read_results(tmp_path / "results.csv"))
    assert {key.attacker for key in found.means} == {"", "unaware", "adaptive", "paired"}
    for mean in found.means.values():
        assert mean.low <= mean.value <= mean.high or (np.isnan(mean.low) and mean.value == pytest.approx(1, abs=1e-5))
    assert all(key.variant.quantized and 0 < change.p <= 1 for key, change in found.changes.items())
    assert {key.metric for key in found.changes if not key.attack} == {"accuracy"}
    assert found.focus.family == ("adaround-1.58-last8", "nearest-2")
    for variant, attackers in found.focus.best.items():
        rates = [found.means[Key(Variant.parse(variant), found.focus.metric, *who)].value for who in attackers.items()]
        assert rates == sorted(rates, reverse=True)
    assert {point.variant.name for point in found.thresholds} == {"none-32", "adaround-1.58-last8", "nearest-2"}
    assert all(len(bounds.epsilon) == 2 for bounds in found.bounds.values())
    assert {key.variant.name for key in found.gaps if key.slice == "not_calibration"} == {
        "adaround-1.58-last8",
        "nearest-2",
    }
    assert list(found.standing) == ["none-32", "adaround-1.58-last8"]
    assert found.standing["none-32"].overlap == 1
    with np.load(tmp_path / "vulnerability.npz") as examples:
        assert examples["none-32"].shape == (60,)


def test_leave_one_out_makes_every_shadow_a_target(study: Study, tmp_path: Path, page: list[Path]) -> None:
    rows = audit(study(), tmp_path, *QUICK, "--design", "leave_one_out")
    assert {row["target"] for row in rows if row["attacker"]} == {str(index) for index in range(8)}
    assert {row["method"] for row in rows if row["attacker"]} == {"none", "adaround"}


def test_the_same_input_gives_the_same_files(study: Study, tmp_path: Path, page: list[Path]) -> None:
    folder = study()
    for name in ("a", "b"):
        audit(folder, tmp_path / name, *QUICK)
    for file in ("results.csv", "audit/nearest-2/unaware.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_a_run_that_fails_leaves_the_files_of_the_last_one(
    study: Study, tmp_path: Path, page: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = study(), tmp_path / "out"
    audit(folder, output, *QUICK)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (folder / "nearest-2" / "009.npz").unlink()  # read last, after scores of the others are computed
    with pytest.raises(ValueError, match="have no confidences"):
        audit(folder, output, *QUICK, "--seed", "7")
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_fault_in_drawing_is_said_and_costs_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> Path:
        raise RuntimeError("no font")

    monkeypatch.setattr("lit_privq.report.build", broken)
    assert audit(study(), tmp_path / "out", *QUICK)
    said = capsys.readouterr().err
    assert "the page could not be drawn (RuntimeError: no font)" in said
    assert f"python -m lit_privq report {tmp_path / 'out'}" in said


def test_a_page_that_is_not_wanted_is_not_drawn(study: Study, tmp_path: Path, page: list[Path]) -> None:
    audit(study(), tmp_path, *QUICK, "--report", "false")
    assert page == []


def test_titles_of_the_attacks_stand_in_the_metrics(study: Study, tmp_path: Path, page: list[Path]) -> None:
    audit(study(), tmp_path, *QUICK)
    titles = json.loads((tmp_path / "metrics.json").read_text())["titles"]
    assert titles == {"lira_online_fixed": "LiRA online, fixed variance", "threshold": "Global threshold"}


def test_doubts_about_a_study_are_said_once_on_stderr_and_in_the_metrics(
    study: Study, tmp_path: Path, page: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study()
    for path in folder.glob("*/*.npz"):
        rewrite(path, confidence=-np.array(read_dump(path).confidence))
    audit(folder, tmp_path, *QUICK)
    notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert sum("members are less confident than non-members" in note for note in notes) == 1
    assert capsys.readouterr().err.count("members are less confident than non-members") == 1


# Slices


CANARIES = np.arange(60) % 6 == 0
TEST_LABELS = np.arange(10) % 2


@pytest.fixture
def sliced(study: Study) -> Path:
    """The study's folder, where dumps carry canaries and the labels of the test set."""
    folder = study()
    for path in folder.glob("*/*.npz"):
        rewrite(path, slices={"canaries": CANARIES}, test_labels=TEST_LABELS)
    return folder


def test_slices_of_the_dumps_have_rows_of_every_metric_attacker_and_variant(
    sliced: Path, tmp_path: Path, page: list[Path]
) -> None:
    rows = audit(sliced, tmp_path / "out", *QUICK, "--max_fpr", "0.1")
    attacked = [row for row in rows if row["attack"] and not row["metric"].startswith("tpr_per_example")]
    by_slice = {
        name: {
            (r["method"], r["attacker"], r["attack"], r["metric"], r["target"]) for r in attacked if r["slice"] == name
        }
        for name in ("all", "canaries")
    }
    assert by_slice["canaries"] == by_slice["all"]
    assert {row["slice"] for row in attacked} == {"all", "canaries", "calibration", "not_calibration"}
    assert {(row["slice"], row["against"]) for row in attacked if row["slice"] in by_slice} == {
        ("all", "pool"),
        ("canaries", "pool"),
        ("canaries", "slice"),
    }
    found = read_measures(tmp_path / "out" / "metrics.json", read_results(tmp_path / "out" / "results.csv"))
    members = np.stack([read_dump(sliced / "none-32" / f"00{i}.npz").members for i in (8, 9)])
    assert found.slices["canaries"] == (members & CANARIES).sum(axis=1).min()
    quantized = {key.variant.name for key in found.changes if key.slice == "canaries"}
    assert quantized == {"adaround-1.58-last8", "nearest-2"}
    assert found.focus.worst == "canaries"
    assert found.focus.worst_family == ("adaround-1.58-last8", "nearest-2")


def test_accuracy_has_a_row_for_each_class_of_the_test_set(sliced: Path, tmp_path: Path, page: list[Path]) -> None:
    rows = audit(sliced, tmp_path / "out", *QUICK, "--slices.classes", "true")
    by_class = {(row["slice"], float(row["value"])) for row in rows if row["metric"] == "accuracy"}
    # Nine of ten are right, and the last, of class 1, is not.
    assert by_class == {("all", 0.9), ("class_0", 1.0), ("class_1", 0.8)}
    assert {f"class_{label}" for label in range(3)} <= {row["slice"] for row in rows if row["attack"]}


def test_accuracy_is_not_split_where_the_labels_of_the_test_set_were_not_kept(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    rows = audit(study(), tmp_path / "out", *QUICK, "--slices.classes", "true")
    assert {row["slice"] for row in rows if row["metric"] == "accuracy"} == {"all"}


@pytest.mark.parametrize("other", [{}, {"canaries": ~CANARIES}, {"old": CANARIES}])
def test_dumps_with_different_slices_are_refused(
    sliced: Path, tmp_path: Path, other: dict[str, np.ndarray[Any, Any]]
) -> None:
    rewrite(sliced / "nearest-2" / "009.npz", slices=other)
    with pytest.raises(ValueError, match=r"must have the same slices; .*nearest-2/009.npz has .*; delete it and run"):
        audit(sliced, tmp_path / "out", *QUICK)


@pytest.mark.parametrize("typed", [["--slices", "{}"], ["--slices={}"], ["--slices.file", "{}"]])
def test_a_file_of_slices_is_measured_beside_those_of_the_dumps(
    sliced: Path, tmp_path: Path, page: list[Path], typed: list[str]
) -> None:
    np.savez(tmp_path / "mine.npz", old=np.arange(60) < 30, rare=np.array([0, 7, 9]))
    options = [word.format(tmp_path / "mine.npz") for word in typed]
    rows = audit(sliced, tmp_path / "out", *QUICK, *options)
    assert {"canaries", "old", "rare"} <= {row["slice"] for row in rows}
    with (tmp_path / "out" / "vulnerability.csv").open() as file:
        held = {row["example"]: row["slices"] for row in csv.DictReader(file)}
    assert [held[example] for example in ("0", "1", "6", "7", "50")] == [
        "canaries old rare",
        "old",
        "canaries old",
        "old rare",
        "",
    ]


def test_a_file_of_slices_that_is_missing_or_fits_nothing_is_refused(study: Study, tmp_path: Path) -> None:
    folder = study()
    with pytest.raises(FileNotFoundError, match=r"there is no .*mine.npz; slices.file names an .npz of slices"):
        audit(folder, tmp_path / "out", *QUICK, "--slices", str(tmp_path / "mine.npz"))
    np.savez(tmp_path / "mine.npz", old=np.arange(59) < 30)
    with pytest.raises(
        ValueError, match=r"slice old in .*mine.npz must hold one boolean for each of 60 examples; got 59"
    ):
        audit(folder, tmp_path / "out", *QUICK, "--slices", str(tmp_path / "mine.npz"))


def test_targets_have_no_say_in_which_examples_are_most_vulnerable(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    folder = study()

    def chosen(output: Path) -> list[str]:
        audit(folder, output, *QUICK, "--slices.most_vulnerable", "0.1")
        with (output / "vulnerability.csv").open() as file:
            return [row["example"] for row in csv.DictReader(file) if row["slices"] and row["variant"] == "none-32"]

    before = chosen(tmp_path / "a")
    assert len(before) == 6
    for path in folder.glob("*/00[89].npz"):
        random = np.random.default_rng(3)
        rewrite(path, confidence=20 * random.normal(size=(60, 2)).astype(np.float32))
    assert chosen(tmp_path / "b") == before


@pytest.mark.parametrize("targets", [[], ["--targets", "3:6", "0"]])
def test_some_of_the_shadows_are_each_judged_on_the_most_vulnerable_of_the_others(
    tmp_path: Path, page: list[Path], targets: list[str]
) -> None:
    random = np.random.default_rng(0)
    members = np.repeat(np.argsort(random.random((8, 80)), axis=0) < 4, 2, axis=0)
    np.savez(tmp_path / "mine.npz", members=members, confidence=random.normal(size=members.shape) + members)
    options = [*QUICK, "--design", "leave_one_out", "--slices.most_vulnerable", "0.2", *targets]
    rows = audit(tmp_path / "mine.npz", tmp_path / "out", *options)
    measured = {row["target"] for row in rows if row["slice"] == "most_vulnerable" and row["value"]}
    assert measured == ({"0", "3", "4", "5"} if targets else {str(index) for index in range(16)})


def test_calibration_examples_are_compared_with_the_same_examples_at_full_precision(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    audit(study(), tmp_path, *QUICK, "--max_fpr", "[0.1]")
    measures = read_measures(tmp_path / "metrics.json", read_results(tmp_path / "results.csv"))
    attack, two = "lira_online_fixed", Variant.parse("nearest-2")
    scores = {name: read_scores(tmp_path / "audit" / name / "unaware.npz", attack) for name in ("none-32", "nearest-2")}
    found = {}
    for name, each in scores.items():
        assert each is not None
        areas = []
        for index, row, members in zip(each.targets, each.scores, each.members, strict=True):
            chosen = read_dump(tmp_path / "confidence" / "nearest-2" / f"{index:03d}.npz").calibration
            areas.append(np.mean(row[chosen][:, None] > row[~members]))
        found[name] = np.mean(areas)
    key = Key(two, "auc", "unaware", attack, "calibration")
    assert measures.means[key].value == pytest.approx(found["nearest-2"])
    assert measures.changes[key].value == pytest.approx(found["nearest-2"] - found["none-32"])


def test_every_metric_of_all_members_is_one_of_each_slice_too(study: Study, tmp_path: Path, page: list[Path]) -> None:
    np.savez(tmp_path / "mine.npz", half=np.arange(60) < 30)
    options = ["--resamples", "20", "--max_fpr", "[0.1]", "--slices", str(tmp_path / "mine.npz")]
    options += ["--slices.most_vulnerable", "0.3", "--attacks", "lira_online_fixed", "lira_offline_fixed", "threshold"]
    audit(study(), tmp_path, *options)
    measures = read_measures(tmp_path / "metrics.json", read_results(tmp_path / "results.csv"))
    leading = ("half", "calibration", "not_calibration", "most_vulnerable")
    for attack, parts in (("lira_online_fixed", leading), ("threshold", ("most_vulnerable",))):
        whole = {key for key in measures.means if (key.slice, key.attack) == ("all", attack)}
        for part in parts:
            own = "calibration" in part
            expected = {key._replace(slice=part) for key in whole if key.variant.quantized or not own}
            assert expected <= set(measures.means)
            quantized = {key for key in expected if key.variant.quantized and key.attacker != "paired"}
            assert quantized <= set(measures.changes)
        assert (
            Key(Variant.parse("nearest-2"), "epsilon", "unaware", attack, "most_vulnerable", "slice") in measures.bounds
        )


def test_the_page_is_told_which_slices_the_leading_attacks_alone_measure(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    options = ["--resamples", "0", "--max_fpr", "[0.1]", "--slices.classes", "true"]
    rows = audit(study(), tmp_path, *options, "--attacks", "lira_online", "rmia_online", "threshold")
    attacks = {row["attack"] for row in rows if row["slice"] == "class_1" and row["attack"]}
    assert attacks == {"lira_online", "rmia_online"}
    notes = metrics(tmp_path)["notes"]
    assert any(note.startswith("slices by lira_online and rmia_online only, to save time") for note in notes)
    assert "no adaptive attacker, only the targets were quantized: nearest-2" in notes
    assert any("own non-members is empty" in note for note in notes)


def test_every_attack_is_measured_on_the_worst_slice_and_the_leading_ones_on_the_others(
    study: Study, tmp_path: Path, page: list[Path]
) -> None:
    np.savez(tmp_path / "mine.npz", canaries=np.arange(60) < 30)
    options = ["--resamples", "0", "--max_fpr", "[0.1]", "--slices", str(tmp_path / "mine.npz")]
    options += ["--slices.most_vulnerable", "0.3", "--attacks", "lira_online", "rmia_online", "threshold"]
    rows = audit(study(), tmp_path, *options)
    attacks = {
        part: {row["attack"] for row in rows if row["slice"] == part} for part in ("canaries", "most_vulnerable")
    }
    assert attacks["canaries"] == {"lira_online", "rmia_online", "threshold"}
    assert attacks["most_vulnerable"] == {"lira_online", "rmia_online"}


def test_what_no_target_has_of_a_slice_is_not_reported(study: Study, tmp_path: Path, page: list[Path]) -> None:
    np.savez(tmp_path / "mine.npz", few=np.arange(60) < 15)
    options = ["--resamples", "0", "--max_fpr", "[0.1]", "--slices", str(tmp_path / "mine.npz")]
    options += ["--attacks", "lira_online"]
    measured: dict[tuple[str, ...], bool] = {}
    for row in audit(study(), tmp_path, *options):
        key = tuple(row[name] for name in ("method", "attacker", "metric", "slice", "against"))
        measured[key] = measured.get(key, False) or bool(row["value"])
    assert ("none", "unaware", "tpr_at_0.1", "few", "pool") in measured
    assert ("none", "unaware", "tpr_at_0.1", "few", "slice") not in measured  # its non-members are too few
    assert all(found for key, found in measured.items() if key[3] != "all")


# Bounds


def test_delta_raises_the_bounds_on_epsilon_and_is_on_record(study: Study, tmp_path: Path, page: list[Path]) -> None:
    folder, found = study(), {}
    for delta in ("0", "0.2"):
        audit(folder, tmp_path / delta, *QUICK, "--delta", delta)
        results = read_results(tmp_path / delta / "results.csv")
        found[delta] = read_measures(tmp_path / delta / "metrics.json", results)
    assert found["0.2"].audit["delta"] == 0.2
    for key, bounds in found["0"].bounds.items():
        other = found["0.2"].bounds[key]
        assert (bounds.delta, other.delta) == (0.0, 0.2)
        # (epsilon, 0) differential privacy is also (epsilon, delta): what is refuted of the latter is less.
        assert all(less <= more for less, more in zip(other.epsilon, bounds.epsilon, strict=True))
    assert any(max(bounds.epsilon) > 0 for bounds in found["0"].bounds.values())


@pytest.mark.parametrize("delta", ["-0.1", "1"])
def test_a_delta_that_is_no_probability_is_refused(study: Study, tmp_path: Path, delta: str) -> None:
    with pytest.raises(ValueError, match=r"delta is a probability in \[0, 1\)"):
        audit(study(), tmp_path, *QUICK, "--delta", delta)


# Attackers who hold several versions


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an audit of two precisions, each its parent with noise, and far from it on calibration examples."""
    folder, random, examples, shadows, targets = (
        tmp_path_factory.mktemp("versions"),
        np.random.default_rng(0),
        600,
        16,
        8,
    )
    members = np.vstack(
        [
            np.argsort(random.random((shadows, examples)), axis=0) < shadows // 2,
            random.random((targets, examples)) < 0.5,
        ]
    )
    hardness = random.normal(size=examples)
    meta: dict[str, Any] = {"dataset": "digits", "net": "small", "fingerprint": "abc", "size_bytes": None}
    meta |= {"n_shadows": shadows, "n_targets": targets, "split_seed": 0, "n_queries": 1}
    for index, inside in enumerate(members):
        parent = hardness + 1.5 * inside + random.normal(size=examples)
        for name, noise in {"none-32": 0.0, "obc-4": 0.5, "obc-2": 1.0}.items():
            method, bits = name.split("-")
            calibration = np.flatnonzero(inside)[index % 2 :: 2] if noise else np.zeros(0, np.int64)
            own = parent + noise * random.normal(size=examples)
            own[calibration] += 10  # entered these versions once more
            confidence = own[:, None].astype(np.float32)
            precision = {"index": index, "method": method, "bits": float(bits), "last_bits": float(bits)}
            right, labels = np.ones(10, np.bool_), np.zeros(examples, np.int64)
            dump = Dump(confidence, labels, inside, calibration, confidence[:10], right, meta | precision)
            write_dump(folder / "confidence" / name / f"{index:03d}.npz", dump)
    main(["--input", str(folder / "confidence"), "--output", str(folder), "--report", "false", "--resamples", "0",
          "--attacks", "lira_online_shrunk", "--max_fpr", "0.05"])  # fmt: skip
    return folder


def test_no_family_beats_the_parent_outside_the_calibration_examples(versions: Path) -> None:
    found = read_measures(versions / "metrics.json", read_results(versions / "results.csv"))
    assert [family.versions for family in found.families] == [("obc-4", "obc-2")]
    (family,) = found.families
    assert family.rate.value > family.rate_parent.value + 0.1  # by way of the calibration examples
    assert family.change.verdict != "higher"
    error = (family.change.high - family.change.low) / (2 * 2.36)  # Student, seven degrees of freedom
    assert family.change.value <= 2 * error


def test_who_holds_target_and_parent_finds_no_less_than_who_holds_either(versions: Path) -> None:
    rows = [row for row in table(versions) if (row["metric"], row["slice"]) == ("tpr_at_0.05", "all")]

    def rates(method: str, bits: str, attacker: str) -> np.ndarray[Any, Any]:
        chosen = (method, bits, attacker, "lira_online_shrunk")
        return np.array(
            [float(r["value"]) for r in rows if (r["method"], r["bits"], r["attacker"], r["attack"]) == chosen]
        )

    for bits in ("4", "2"):
        both = rates("obc", bits, "paired")
        for alone in (rates("obc", bits, "adaptive"), rates("none", "32", "unaware")):
            difference = both - alone
            assert difference.mean() >= -2 * difference.std(ddof=1) / np.sqrt(difference.size)
