from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_privq.attacks import LiRAOnline, Residual, Shrunk, Threshold, paired, reference, standard
from lit_privq.audit.options import Audit, parse

CONFIGS = Path(__file__).parents[2] / "configs" / "audit"
PLACES = ("--input", "x.npz", "--output", "y")


@pytest.mark.parametrize("name", ["targets", "members", "file", "allow_pickle", "3"])
def test_names_that_the_scores_cannot_bear_are_refused(tmp_path: Path, name: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"define: {{{name}: {{class_path: lit_privq.attacks.Threshold}}}}\n")
    with pytest.raises(ValueError, match=f"name must be text other than .* got '?{name}"):
        parse([*PLACES, "--config", str(config)])


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ("define: {}", "define must hold at least one attack"),
        ("design: held_out\npaired:", "paired must be a map of attacks; got null"),
        ("design: held_out\nadd:", "add must be a map of attacks; got null"),
    ],
)
def test_no_attacks_at_all_and_a_map_left_blank_are_refused(tmp_path: Path, attacks: str, message: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"{attacks}\n")
    with pytest.raises(ValueError, match=message):
        parse([*PLACES, "--config", str(config)])


@pytest.mark.parametrize(
    "line",
    ["targets: 8:10", "targets: [8:10]", "targets: 64:74", 'targets: "8:10"', "targets: 9", "attacks: threshold"],
)
def test_what_yaml_does_not_read_as_a_list_of_words_is_refused(tmp_path: Path, line: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"{line}\n")
    with pytest.raises(ValueError, match="lists of words in quotes"):
        parse([*PLACES, "--config", str(config)])


@pytest.mark.parametrize(("config", "preset"), [("digits", standard), ("default", standard), ("reference", reference)])
def test_a_shipped_config_defines_the_preset(config: str, preset: Any) -> None:
    audit = parse([*PLACES, "--config", str(CONFIGS / f"{config}.yaml")])
    assert audit.define == preset()
    assert list(audit.define) == list(preset())


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    said = capsys.readouterr().out
    assert "audit --input mine.npz --targets" in said
    assert "<function" not in said


@pytest.mark.parametrize("words", [["0.01", "0.05"], ["[0.01,0.05]"], ["[0.01, 0.05]"], ["0.01,0.05"]])
@pytest.mark.parametrize("names", [["base", "threshold"], ["[base,threshold]"], ['["base", "threshold"]']])
def test_lists_are_words_or_in_brackets(words: list[str], names: list[str]) -> None:
    audit = parse([*PLACES, "--max_fpr", *words, "--attacks", *names, "--targets", "[8:10]"])
    assert audit.max_fpr == [0.01, 0.05]
    assert audit.attacks == ["base", "threshold"]
    assert audit.targets == ["8:10"]


def test_what_is_typed_wins_over_a_config_wherever_it_stands() -> None:
    config = ["--config", str(CONFIGS / "reference.yaml")]
    typed = ["--design", "leave_one_out", "--max_fpr", "0.05"]
    between = [*typed[:2], f"--config={CONFIGS / 'reference.yaml'}", *typed[2:]]
    for argv in ([*typed, *config], [*config, *typed], between):
        audit = parse([*PLACES, *argv])
        assert (audit.design, audit.max_fpr) == ("leave_one_out", [0.05])
        assert audit.define == reference()


def test_of_two_configs_the_later_one_wins(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.yaml").write_text(f"seed: {seed}\n")
    assert parse(["--config", str(tmp_path / "a.yaml"), *PLACES, "--config", str(tmp_path / "b.yaml")]).seed == 2


def test_attacks_are_added_to_the_standard_ones_and_one_is_replaced_by_name(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        "add:\n"
        "  lira_online_fixed: {class_path: lit_privq.attacks.LiRAOnline, init_args: {centre: mean}}\n"
        "  mine: {class_path: lit_privq.attacks.Threshold}\n"
    )
    found = parse([*PLACES, "--config", str(config)]).chosen()
    assert list(found) == [*standard(), "mine"]
    assert found["lira_online_fixed"] == LiRAOnline("mean", Residual())
    assert found["mine"] == Threshold()
    assert {**found, "lira_online_fixed": LiRAOnline()} == {**standard(), "mine": Threshold()}


def test_the_shipped_config_with_own_attacks_changes_one_and_adds_one() -> None:
    found = parse([*PLACES, "--config", str(CONFIGS / "own_attack.yaml")]).chosen()
    assert list(found) == [*standard(), "lira_online_mean"]
    assert found["lira_online_shrunk"] == LiRAOnline(variance=Shrunk(8))


def test_an_attack_is_typed_beside_a_config_whose_own_stand_in_another_file() -> None:
    typed = ["--config", str(CONFIGS / "digits.yaml"), "--add.mine", "lit_privq.attacks.Threshold"]
    assert list(parse([*PLACES, *typed]).add) == ["lira_offline_proxy", "mine"]


def test_attacks_of_the_same_title_are_told_apart_by_their_names(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("add: {mine: {class_path: lit_privq.attacks.Threshold}}\n")
    titles = parse([*PLACES, "--config", str(config)]).titles()
    assert titles["threshold"] == "Global threshold (threshold)"
    assert titles["mine"] == "Global threshold (mine)"
    assert titles["lira_online_fixed"] == "LiRA online, fixed variance"  # not that of the paired attacker


def test_a_printed_config_is_clean_and_makes_the_same_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*PLACES, "--print_config"])
    printed, said = capsys.readouterr()
    assert said == ""
    assert "Unable" not in printed
    config = tmp_path / "printed.yaml"
    config.write_text(printed)
    assert yaml.safe_load(printed)["define"]["threshold"]["class_path"] == "lit_privq.attacks.Threshold"
    audit = parse(["--config", str(config)])
    assert audit == Audit(Path("x.npz"), Path("y"))
    assert (audit.define, audit.paired) == (standard(), paired())
