from typing import Any

import pytest

from lit_privq.study.study_file import read_study


def test_a_study_file_is_read_with_its_paths_as_seen_from_here(bench: Any) -> None:
    study = read_study(bench.config)
    assert study.shadow == str(bench.folder / "configs/shadow/tiny.yaml")
    assert [row.name for row in study.quantize] == ["nearest", "adaround"]
    assert study.variants == ("none-32", "nearest-4", "nearest-1.58", "adaround-2", "adaround-1.58-last8")


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
