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

from lit_privq.artifacts.confidences import read_dump, write_dump
from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.results import Key, read_results
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
