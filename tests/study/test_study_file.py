from pathlib import Path
from typing import Any

import pytest

from lit_privq.artifacts.variant import Variant
from lit_privq.study.study_file import read_study


def test_a_study_file_is_read_with_its_paths_as_seen_from_here(bench: Any) -> None:
    study = read_study(bench.config)
    assert study.shadow == str(bench.folder / "configs/shadow/tiny.yaml")
    assert [row.name for row in study.quantize] == ["nearest", "adaround"]
    assert [variant.name for variant in study.variants] == [
        "none-32", "nearest-4", "nearest-1.58", "adaround-2", "adaround-1.58-last8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        ('[2, {"*": 2, "fc": 8}]', ["nearest-2", "nearest-2-fc_8"]),
        ('[{"*": 2, "fc": 2}]', ["nearest-2"]),
        ('[{name: first8, "*": 2, "conv1": 8, "last": 8}]', ["nearest-2-last8-first8"]),
        ('[{"*": 2, "head": 32}, {"*": 2, "last": 32}]', ["nearest-2-head_32", "nearest-2-last32"]),
    ],
)
def test_maps_of_bits_have_names_that_can_be_read(bench: Any, bits: str, names: list[str]) -> None:
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", f"bits: {bits}")
    variants = read_study(bench.config).quantize[0].variants
    assert [variant.name for variant in variants] == names
    assert [Variant.parse(name) for name in names] == list(variants)


def test_two_configs_of_one_name_are_refused(bench: Any) -> None:
    (bench.folder / "configs/ptq/short").mkdir()
    (bench.folder / "configs/ptq/short/nearest.yaml").touch()
    bench.change("study/tiny.yaml", "ptq/adaround.yaml", "ptq/short/nearest.yaml")
    with pytest.raises(ValueError, match=r"ptq/nearest.yaml and .*short/nearest.yaml are both nearest; rename one"):
        read_study(bench.config)


def test_one_shadow_is_short_for_one_recipe(bench: Any) -> None:
    short = read_study(bench.config)
    bench.change(
        "study/tiny.yaml", "shadow: ../shadow/tiny.yaml", "recipes: [{name: default, shadow: ../shadow/tiny.yaml}]"
    )
    assert read_study(bench.config) == short
    assert short.recipe_names == ("default",)


def test_recipes_have_variants_of_their_own_and_the_first_is_not_spelt(bench: Any) -> None:
    bench.add_recipes()
    assert [variant.name for variant in read_study(bench.config).variants] == [
        "none-32", "nearest-4", "nearest-1.58", "adaround-2", "adaround-1.58-last8",
        "none-32@short", "nearest-4@short", "nearest-1.58@short",
        "none-32@smooth", "nearest-4@smooth", "nearest-1.58@smooth",
    ]  # fmt: skip


def test_recipes_are_called_as_people_write_them_and_the_baseline_by_no_name(bench: Any) -> None:
    bench.add_recipes()
    assert read_study(bench.config).titles == {"plain": "", "short": "10 epochs", "smooth": "Label smoothing"}
    bench.change("study/tiny.yaml", "{name: plain", "{title: ResNet, name: plain")
    assert read_study(bench.config).titles["short"] == "ResNet, 10 epochs"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{name: smooth", "{name: plain", "every recipe must have a name of its own; got plain twice"),
        ("{name: smooth", "{name: short", "every recipe must have a name of its own; got short twice"),
        ("{name: smooth", "{name: a/b", "part of file names, letters, digits .*; got 'a/b', choose another"),
        ("{name: smooth", "{name: a@b", "part of file names, letters, digits .*; got 'a@b', choose another"),
        ("{name: smooth", "{name: ''", "part of file names, letters, digits .*; got '', choose another"),
        ("{short: 10}", "{.short: 10}", "part of file names, letters, digits .*; got '.short', choose another"),
        ("[plain, short", "[plain, sharp", "nearest quantizes recipes of this study, plain, short, smooth; got sharp"),
        ("[plain, short", "[plain, plain", "must be listed once; nearest-4 occurs again"),
        ("{short: 10}", "{short: 0}", "short stops plain early, after 1 epoch at least and before the last.*; got 0"),
        ("{short: 10}", "{short: ten}", "early must be of type .*; got ten"),
        ("name: smooth", "named: smooth", "named is not a key here; the keys are name, shadow, title, early, fleet"),
        ("title: Label smoothing", "fleet: 0", "fleet must be auto or at least 1 model per process; got 0"),
        ("query:", "shadow: ../shadow/tiny.yaml\nquery:", "it must say how models are trained, shadow: .*; got both"),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused_in_one_sentence(
    bench: Any, old: str, new: str, sentence: str
) -> None:
    bench.add_recipes()
    bench.change("study/tiny.yaml", old, new)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_study(bench.config)
    assert str(caught.value).startswith(str(bench.config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("recipes", ["", "recipes: []"])
def test_a_study_without_recipes_is_refused(bench: Any, recipes: str) -> None:
    bench.change("study/tiny.yaml", "shadow: ../shadow/tiny.yaml", recipes)
    with pytest.raises(ValueError, match=r"got neither|recipes must name one at least.*; got \[\]"):
        read_study(bench.config)


@pytest.mark.parametrize(("epochs", "refused"), [(9, True), (10, True), (11, False)])
def test_an_early_stop_lies_before_the_end_of_the_training(bench: Any, epochs: int, refused: bool) -> None:
    bench.add_recipes()
    bench.change("shadow/tiny.yaml", "model:", f"trainer: {{max_epochs: {epochs}}}\nmodel:")
    if not refused:
        assert read_study(bench.config).recipe_names == ("plain", "short", "smooth")
        return
    with pytest.raises(ValueError, match=f"short stops plain early, .* before the last of {epochs}; got 10, correct"):
        read_study(bench.config)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ("{dataset: {class_path: Digits, init_args: {pool_size: 100}}, split_seed: 3}", "dataset.init_args"),
        ("{dataset: {class_path: Cifar}, split_seed: 3}", "dataset.class_path"),
        ("{dataset: {class_path: Digits}, split_seed: 4}", "split_seed"),
        ("{dataset: {class_path: Digits}, split_seed: 3, batch_size: 7, padding: 4}", ""),
    ],
)
def test_recipes_see_the_same_examples_whatever_else_of_their_data_differs(bench: Any, data: str, key: str) -> None:
    bench.add_recipes()
    bench.change("study/tiny.yaml", "split_seed: 3\n", "")
    bench.change("shadow/tiny.yaml", "../data/tiny.yaml", "{dataset: {class_path: Digits}, split_seed: 3}")
    bench.change("shadow/smooth.yaml", "../data/tiny.yaml", data)
    if not key:
        assert len(read_study(bench.config).recipes) == 2
        return
    with pytest.raises(ValueError, match=rf"all recipes must have the same data.{key}, .*; smooth has .*, plain has "):
        read_study(bench.config)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("n_shadows: 4", "n_shadow: 4", "n_shadow is not a key here; the keys are name, shadow"),
        ("bits: [4", "bitz: [4", "bitz is not a key here; the keys are method, bits, adaptive"),
        ("n_shadows: 4", "n_shadows: 5", "n_shadows must be even.*got 5, use 4 or 6"),
        ("n_shadows: 4", "n_shadows: 0", "n_shadows must be even.*got 0, use at least 2"),
        ("n_shadows: 4", "n_shadows: four", "n_shadows must be of type int; got four"),
        ("n_shadows: 4\n", "", "it must also say n_shadows"),
        ("n_targets: 2", "n_targets: 0", "n_targets must be at least 1"),
        ("fleet: 3", "fleet: many", "fleet must be of type .*auto.*; got many"),
        ("fleet: 3", "fleet: 0", "fleet must be auto or at least 1"),
        ("bits: [4, 1.58]", "bits: [4, 0.5]", "bits of nearest must be numbers from 1 to 8.*got 0.5"),
        ("bits: [4, 1.58]", "bits: [4, 10]", "bits of nearest must be numbers from 1 to 8.*got 10"),
        ("bits: [4, 1.58]", "bits: []", r"bits of nearest must be numbers from 1 to 8.*got \[\]"),
        ("bits: [4, 1.58]", "bits: [4, x]", "quantize.bits must be of type list.*; got x"),
        ("bits: [4, 1.58]", "bits: [4, 4]", "must be listed once; nearest-4 occurs again"),
        ("bits: [4, 1.58]", 'bits: [2, {"*": 2, "fc": 2}]', "must be listed once; nearest-2 occurs again"),
        ("bits: [4, 1.58]", 'bits: [2, {"fc": 8, "*": 2}]', "must be listed once; nearest-2 occurs again"),
        ("[4, 1.58]", '[{name: a, "*": 2, "c": 4}, {name: b, "*": 2, "c": 4}]', "nearest-2-b occurs again; two diff"),
        ("[4, 1.58]", '[{"*": 2, "c": 4}, {"*": 2, "c*": 4}]', "nearest-2-c_4 occurs again; two different maps need"),
        ("[4, 1.58]", '[{name: 4, "*": 2, "c": 4}]', "the name of a map must be a word that starts with a letter"),
        ("[4, 1.58]", '[{name: "a b", "*": 2, "c": 4}]', "the name of a map must be a word that starts with a letter"),
        ("bits: [4, 1.58]", "bits: [32]", "bits of nearest must be numbers from 1 to 8.*got 32"),
        ("bits: [4, 1.58]", 'bits: [{"*": 2, "fc": 16}]', "or 32 in a map for a layer that stays float; got 16"),
        ("bits: [4, 1.58]", 'bits: [{"*": two}]', "or maps from layers to such numbers; got {'\\*': 'two'}"),
        ("name: tiny", "name: [tiny", "must be a YAML file"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(bench: Any, old: str, new: str, sentence: str) -> None:
    bench.change("study/tiny.yaml", old, new)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_study(bench.config)
    assert str(caught.value).startswith(str(bench.config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["shadow", "query", "audit"])
def test_a_config_that_does_not_exist_is_named(bench: Any, key: str) -> None:
    bench.change("study/tiny.yaml", f"../{key}/tiny.yaml", f"../{key}/huge.yaml")
    with pytest.raises(
        FileNotFoundError, match=rf"names ../{key}/huge.yaml, but there is no .*configs/{key}/huge.yaml"
    ):
        read_study(bench.config)


def test_a_method_that_does_not_exist_is_named(bench: Any) -> None:
    bench.change("study/tiny.yaml", "adaround.yaml", "adaroun.yaml")
    with pytest.raises(FileNotFoundError, match=r"adaroun\.yaml"):
        read_study(bench.config)


def test_a_study_file_that_does_not_exist_is_named(bench: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*typo.yaml"):
        read_study(bench.config.with_name("typo.yaml"))


def test_a_list_is_no_study(bench: Any) -> None:
    bench.config.write_text("[1, 2]")
    with pytest.raises(ValueError, match="must hold keys and values; got list"):
        read_study(bench.config)


def test_a_family_that_the_study_names_stands_for_its_recipes(bench: Any) -> None:
    bench.add_recipes()
    bench.change("study/tiny.yaml", "title: Label smoothing", "title: Label smoothing, family: Regularised")
    assert read_study(bench.config).families["smooth"] == "Regularised"
    bench.change("study/tiny.yaml", "early: {short: 10}", "early: {short: 10}, family: Epochs")
    assert read_study(bench.config).families == {"plain": "Epochs", "short": "Epochs", "smooth": "Regularised"}


@pytest.mark.parametrize(("repeats", "use"), [(0, 1), (3, 4)])
def test_repeats_that_share_no_calibration_set_are_refused(bench: Any, repeats: int, use: int) -> None:
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", f"bits: [4, 1.58], repeats: {repeats}")
    with pytest.raises(ValueError, match=f"repeats of nearest must be 1 or even.*got {repeats}, use {use}"):
        read_study(bench.config)


def test_all_rivals_of_quantization_stand_in_one_study_of_the_digits() -> None:
    study = read_study(Path(__file__).parents[2] / "configs/study/digits_rivals.yaml")
    assert {"default", "short", "decay", "smooth", "dp_sgd_low", "dp_sgd_medium", "narrow"} <= set(study.recipe_names)
    assert {row.name for row in study.quantize} == {"descent", "qat", "magnitude_prune", "obc_prune"}
    assert "descent-2@dp_sgd_medium" in {variant.name for variant in study.variants}
    assert (study.n_shadows, study.n_targets) >= (16, 4)
    assert study.families["dp_sgd_low"] == study.families["dp_sgd_medium"] == "DP-SGD"
