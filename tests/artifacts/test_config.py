from __future__ import annotations

from pathlib import Path

import pytest

from lit_privq.artifacts.config import config_tree, read_tree


def test_a_config_holds_the_configs_that_it_points_at_wherever_they_lie(tmp_path: Path) -> None:
    for name, text in {
        "shadow/a.yaml": "data: ../data/b.yaml\nparts: [c.yaml, 3]\n",
        "shadow/c.yaml": "x: 1\n",
        "data/b.yaml": "deep: {er: d.yml}\n",
        "data/d.yml": "y: text.yamlish\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert config_tree(tmp_path / "shadow/a.yaml") == {
        "data": {"deep": {"er": {"y": "text.yamlish"}}},
        "parts": [{"x": 1}, 3],
    }


def test_a_config_that_points_at_nothing_is_named_with_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: b.yaml\n")
    with pytest.raises(FileNotFoundError, match=r"a\.yaml names b\.yaml, but there is no .*b\.yaml; correct the path"):
        config_tree(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "said"), [("a: [1", "must be a YAML file"), ("- 1\n", "must hold keys and values; got list")]
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_tree(tmp_path / "a.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.yaml; check the path"):
        read_tree(tmp_path / "a.yaml")
