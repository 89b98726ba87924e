from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_privq.artifacts.confidences import read_dump, write_dump
from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.results import Key, read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.audit import main
from lit_privq.audit.folder import Folder
from lit_privq.report import build

Study = Callable[..., Path]
QUICK = ["--attacks", "lira_online_fixed", "threshold", "--resamples", "20"]


def audit(folder: Path, output: Path, *options: str) -> None:
    main(["--input", str(folder), "--output", str(output), *options])


def rewrite(path: Path, **changes: Any) -> None:
    """Change a dump behind its maker's back."""
    dump = read_dump(path)
    copied = {
        f.name: np.array(v) for f in dataclasses.fields(dump) if isinstance(v := getattr(dump, f.name), np.ndarray)
    }
    changed = dataclasses.replace(dump, **{**copied, "meta": {**dump.meta, **changes.pop("meta", {})}, **changes})
    write_dump(path, changed)


def test_a_missing_shadow_is_named_with_the_command_that_mends_it(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "none-32" / "003.npz").unlink()
    with pytest.raises(ValueError, match=r"1 of 10 models .* \[3\]; run `python -m lit_privq predict .* 3 "):
        audit(folder, tmp_path)
    assert not (tmp_path / "results.csv").exists()


def test_the_command_that_mends_names_no_file_that_may_not_be_there(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "none-32" / "003.npz").unlink()
    with pytest.raises(ValueError, match=r"--config CONFIG .*, CONFIG being the study's own of its queries"):
        audit(folder, tmp_path)


def test_a_target_may_be_added_to_a_study_later_and_left_out_again(study: Study) -> None:
    folder = study({"none-32": 3.0})
    *earlier, last = sorted((folder / "none-32").glob("*.npz"))
    for path in earlier:
        rewrite(path, meta={"n_targets": len(earlier) - len(Folder(folder).shadows)})
    targets = Folder(folder).targets
    assert targets[-1] == int(last.stem)
    assert Folder(folder, n_targets=len(targets) - 1).targets == targets[:-1]
    last.unlink()
    assert Folder(folder).targets == targets[:-1]


def test_a_missing_quantized_shadow_is_not_taken_for_an_unaware_study(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "adaround-1.58-last8" / "002.npz").unlink()
    with pytest.raises(ValueError, match=r"\[2\].*checkpoints/adaround-1\.58-last8/"):
        audit(folder, tmp_path, *QUICK)
    assert not (tmp_path / "results.csv").exists()


def test_a_missing_target_is_named(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "nearest-2" / "009.npz").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 models .*nearest-2: \[9\]"):
        audit(folder, tmp_path, *QUICK)


def test_a_study_without_full_precision_is_refused(study: Study, tmp_path: Path) -> None:
    folder = study({"adaround-2": 1.0})
    with pytest.raises(FileNotFoundError, match=r"no folder .*none-32"):
        audit(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(60, np.int64)}, "must have the same labels"),
        (
            {"members": np.arange(60) < 30, "calibration": np.zeros(0, np.int64)},
            "members are the same in every recipe, and do not change",
        ),
        ({"meta": {"fingerprint": "other"}}, "must share fingerprint; .* has 'other', the others 'abc'"),
        ({"meta": {"dataset": "cifar10"}}, "must share dataset"),
        ({"meta": {"split_seed": 7}}, "must share split_seed"),
        ({"meta": {"index": 4}}, "009.npz says it is model 4"),
        ({"meta": {"method": "obc"}}, "009.npz says it is of obc-2; delete it and run"),
        ({"meta": {"recipe": "smooth"}}, "009.npz says it is of nearest-2@smooth; delete it and run"),
        ({"meta": {"net": "large"}}, "models of a recipe must have the same network; .* has large, the others small"),
    ],
)
def test_a_dump_of_another_study_is_named(study: Study, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = study()
    rewrite(folder / "nearest-2" / "009.npz", **changes)
    with pytest.raises(ValueError, match=message):
        audit(folder, tmp_path, *QUICK)


@pytest.mark.parametrize("inside", [False, True])
def test_a_target_that_trained_on_all_or_nothing_is_named_before_anything_is_written(
    study: Study, tmp_path: Path, inside: bool
) -> None:
    folder = study()
    for path in folder.glob("*/009.npz"):
        rewrite(path, members=np.full(60, inside), calibration=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=rf"none-32/009.npz has {60 * inside} members"):
        audit(folder, tmp_path / "out", *QUICK)
    assert not list((tmp_path / "out").iterdir())


def test_a_truncated_dump_is_named(study: Study, tmp_path: Path) -> None:
    path = study() / "none-32" / "005.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"005.npz is not a usable dump: .*truncated.*run predict"):
        audit(path.parent.parent, tmp_path, *QUICK)


RECIPES = {"none-32": 3.0, "obc-4": 2.5, "obc-2": 2.0, "none-32@dp": 1.0, "obc-4@dp": 0.7, "obc-2@dp": 0.5}


def test_a_variant_is_attacked_with_shadows_of_its_own_recipe(study: Study) -> None:
    folder = Folder(study(RECIPES))
    for name in ("obc-2", "obc-2@dp"):
        models = folder.read(name)
        own, parent = (folder.read(one).observed(folder.shadows) for one in (name, models.variant.parent.name))
        cases = {case.attacker: case for case in folder.cases(name, "held_out", models)}
        assert [*cases] == ["unaware", "adaptive", "paired"]
        assert np.array_equal(cases["unaware"].shadows.confidence, parent.confidence)
        assert np.array_equal(cases["adaptive"].shadows.confidence, own.confidence)
        assert np.array_equal(cases["paired"].versions["parent"][0].confidence, parent.confidence)


def test_a_recipe_in_full_precision_has_no_parent_to_be_paired_with(study: Study) -> None:
    folder = Folder(study(RECIPES))
    found = list(folder.cases("none-32@dp", "leave_one_out", folder.read("none-32@dp")))
    assert [case.attacker for case in found] == ["unaware"]
    assert np.array_equal(found[0].shadows.confidence, folder.read("none-32@dp").observed(folder.shadows).confidence)


def test_a_family_is_of_one_recipe_and_its_parent_too(study: Study) -> None:
    folder = Folder(study(RECIPES))
    families = list(folder.families("held_out"))
    assert [tuple(case.versions) for case in families] == [("obc-4", "obc-2"), ("obc-4@dp", "obc-2@dp")]
    shadows, _ = folder.parents(families[1].variant, "held_out")
    assert np.array_equal(shadows.confidence, folder.read("none-32@dp").observed(folder.shadows).confidence)


@pytest.mark.parametrize(
    ("recipes", "order"),
    [((), ["none-32", "none-32@a", "none-32@b"]), (("x", "b", "a"), ["none-32", "none-32@b", "none-32@a"])],
)
def test_recipes_come_in_the_order_of_the_study(study: Study, recipes: tuple[str, ...], order: list[str]) -> None:
    folder = study({"none-32@b": 1.0, "none-32": 3.0, "none-32@a": 2.0})
    assert Folder(folder, recipes=recipes).variants == order


def test_a_recipe_without_its_full_precision_is_refused(study: Study) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*none-32@dp with .npz files; run predict on their"):
        Folder(study({"none-32": 3.0, "obc-2@dp": 1.0}))


def test_other_members_in_another_recipe_are_refused(study: Study, tmp_path: Path) -> None:
    folder = study({"none-32": 3.0, "none-32@dp": 1.0})
    rewrite(folder / "none-32@dp" / "003.npz", members=np.arange(60) < 30)
    with pytest.raises(ValueError, match=r"members are the same in every recipe.*none-32@dp/003.npz differ"):
        audit(folder, tmp_path, *QUICK)


def test_an_audit_by_hand_knows_the_recipes_and_families_of_the_study(study: Study, tmp_path: Path) -> None:
    folder = study({"none-32@b": 3.0, "none-32": 2.0, "none-32@a": 1.0})
    told = ["--recipes", "plain", "b", "a", "--families", '{"plain": "Plain", "b": "Noise", "a": "Noise"}']
    audit(folder, tmp_path / "told", *QUICK, *told, "--report", "false")
    families = {"plain": "Plain", "b": "Noise", "a": "Noise"}
    (folder.parent / "study.json").write_text(json.dumps({"families": families}))
    audit(folder, tmp_path / "by_hand", *QUICK, "--report", "false")
    for name in ("results.csv", "metrics.json"):
        assert (tmp_path / "by_hand" / name).read_bytes() == (tmp_path / "told" / name).read_bytes()
    assert json.loads((tmp_path / "by_hand/metrics.json").read_text())["audit"]["families"] == families


def test_results_know_the_recipe_and_changes_are_from_the_right_baseline(study: Study, tmp_path: Path) -> None:
    audit(study(RECIPES), tmp_path, *QUICK, "--recipes", "plain", "dp", "--report", "false")
    results = read_results(tmp_path / "results.csv")
    measures = read_measures(tmp_path / "metrics.json", results)
    assert (results.first_recipe, results.net) == ("plain", "small, smalldp")
    key = Key(Variant.parse("obc-2@dp"), "auc", "unaware", "lira_online_fixed")
    for name, baseline in (("obc-2", "none-32"), ("none-32@dp", "none-32"), ("obc-2@dp", "none-32@dp")):
        one, other = (measures.means[key._replace(variant=Variant.parse(each))].value for each in (name, baseline))
        assert measures.changes[key._replace(variant=Variant.parse(name))].value == pytest.approx(one - other)
        assert measures.standing[name].before == measures.standing[baseline].standing_out
    assert "none-32" not in {key.variant.name for key in measures.changes}
    lines = (tmp_path / "vulnerability.csv").read_text().splitlines()
    assert {line.split(",")[-1] for line in lines[1:]} == {"plain", "dp"}


def test_repeats_meet_the_attackers_shadows_of_the_first_draw(study: Study) -> None:
    again = "adaround-1.58~1"
    path = study({"none-32": 3.0, "adaround-1.58": 1.0, again: 1.0}, targets_only=(again,))
    folder = Folder(path)
    first = {case.attacker: case for case in folder.cases("adaround-1.58", "held_out", folder.read("adaround-1.58"))}
    found = {case.attacker: case for case in folder.cases(again, "held_out", folder.read(again))}
    assert set(first) == {"unaware", "adaptive", "paired"}
    assert set(found) == {"unaware", "adaptive"}
    ours, theirs = (cases["adaptive"].shadows.confidence for cases in (found, first))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert found["adaptive"].targets is not first["adaptive"].targets


def test_an_audit_keeps_repeats_in_results_and_tells_their_spread(study: Study, tmp_path: Path) -> None:
    again = "adaround-1.58~1"
    path = study({"none-32": 3.0, "adaround-1.58": 1.0, again: 1.0}, targets_only=(again,))
    main(["--input", str(path), "--output", str(tmp_path / "out"), "--max_fpr", "0.1", "--report", "false"])
    results = read_results(tmp_path / "out/results.csv")
    assert [variant.name for variant in results.repeats] == [again]
    measures = read_measures(tmp_path / "out/metrics.json", results)
    assert {(one.variant, one.repeats) for one in measures.draws} == {("adaround-1.58", 2)}
    assert not any(key.variant.repeat for key in (*measures.means, *measures.changes, *measures.bounds))
    build(tmp_path / "out")
    assert "How far runs differ" in (tmp_path / "out/report.html").read_text()


def test_leaving_one_out_utility_is_that_of_the_models_attacked(study: Study, tmp_path: Path) -> None:
    path = study({"none-32": 3.0, "adaround-1.58": 1.0, "nearest-2": 2.0})
    options = ("--design", "leave_one_out", "--max_fpr", "0.1", "--report", "false")
    main(["--input", str(path), "--output", str(tmp_path / "out"), *options])
    results = read_results(tmp_path / "out/results.csv")
    assert list(results.values(Variant.parse("adaround-1.58"), "accuracy")) == list(range(8))
    assert list(results.values(Variant.parse("nearest-2"), "accuracy")) == [8, 9], "its shadows were not quantized"


def test_models_that_diverged_are_left_out_wherever_they_would_stand_and_said_to_be_missing(
    study: Study, tmp_path: Path
) -> None:
    folder = study()
    whole = Folder(folder)
    shadow, target = whole.shadows[2], whole.targets[0]
    for path in folder.glob("*/*.npz"):
        if int(path.stem) in (shadow, target):
            path.unlink()
    left = Folder(folder, left_out=[shadow, target])
    assert left.shadows == [index for index in whole.shadows if index != shadow]
    assert left.targets == whole.targets[1:]
    audit(folder, tmp_path, *QUICK, "--leave_out", str(shadow), str(target))
    results = read_results(tmp_path / "results.csv")
    assert {target for values in results.series.values() for target in values} == set(left.targets)
    notes = read_measures(tmp_path / "metrics.json", results).notes
    assert f"2 models are missing, as they diverged: {shadow}, {target}" in notes


def test_a_single_target_may_have_calibration_members(study: Study, tmp_path: Path) -> None:
    audit(study(), tmp_path, *QUICK, "--n_targets", "1")
    assert (tmp_path / "results.csv").exists()
