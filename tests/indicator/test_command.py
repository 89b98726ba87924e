import json
from pathlib import Path

import numpy as np
import pytest

from lit_privq.indicator.command import main, parse
from lit_privq.indicator.runs import StoredRuns, read_runs
from lit_privq.study.study_file import read_study

CONFIGS = Path(__file__).parents[2] / "configs" / "indicator"

TINY = """
finite: {problems: 2, values: 3, n: 12, rates: 1}
experiments:
  modes3:
    dataset:
      class_path: lit_privq.data.GaussianModes
      init_args: {modes: 3, dimension: 8, pool_size: 81, test_size: 60}
    recipe: {epochs: 6, snapshots: 5}
    runs: 8
    seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("mis")
    (where / "tiny.yaml").write_text(TINY)
    main(["--config", str(where / "tiny.yaml"), "--output", str(where / "out")])
    return where


@pytest.mark.slow
def test_a_study_leaves_runs_claims_a_table_and_every_exhibit(folder: Path) -> None:
    out = folder / "out"
    assert sorted(path.name for path in out.glob("runs/*")) == ["modes3-0.npz", "modes3-1.npz"]
    assert "## modes3-1" in (out / "mis.md").read_text()
    assert len(json.loads((out / "claims.json").read_text())) == 8
    drawn = {path.stem for path in out.glob("figures/*.png")}
    assert drawn == {
        "1_stability_modes3", "2_brute_force", "2_lira_synthetic", "3_classification", "5_quantizers", "lambda_modes3",
    }  # fmt: skip
    assert drawn == {path.stem for path in out.glob("figures/*.svg")}


@pytest.mark.slow
def test_tables_and_figures_come_from_stored_runs_alone(folder: Path, tmp_path: Path) -> None:
    main(["--folders", str(folder / "out"), "--output", str(tmp_path)])
    assert (tmp_path / "mis.md").read_text() == (folder / "out" / "mis.md").read_text()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_study_is_understood_and_has_at_least_fifty_runs(path: Path) -> None:
    given = parse(["--config", str(path), "--output", "unused", "--data.root", "somewhere"])
    assert given.data_root == Path("somewhere")
    assert all(experiment.runs >= 50 for experiment in given.experiments.values())


def test_a_value_typed_before_the_file_wins_over_it(folder: Path) -> None:
    given = parse(["--finite.n", "7", "--config", str(folder / "tiny.yaml"), "--output", "unused"])
    assert (given.finite.n, given.finite.problems) == (7, 2)


@pytest.mark.parametrize("words", [["a", "b"], ["[a, b]"], ['["a", "b"]']])
def test_folders_are_words_or_a_list(words: list[str]) -> None:
    assert parse(["--folders", *words, "--output", "unused"]).folders == [Path("a"), Path("b")]


def test_without_a_study_there_is_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is nothing to run; give --config with a file of configs/indicator"):
        main(["--output", str(tmp_path)])


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("experimants: {few: 1}\n")
    with pytest.raises(ValueError, match=r"'experimants\.few' is not accepted"):
        main(["--config", str(tmp_path / "x.yaml"), "--output", str(tmp_path / "out")])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_verb_study_says_which_verb_runs_a_study_of_the_indicator(path: Path) -> None:
    with pytest.raises(ValueError, match=f"is a study of the MIS indicator; run it with .* indicator --config {path}"):
        read_study(path)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no stored runs; run the study first"):
        main(["--folders", str(tmp_path), "--output", str(tmp_path)])


def test_other_seeds_give_other_runs(folder: Path) -> None:
    one, other = (read_runs(folder / "out" / "runs" / f"modes3-{seed}.npz", StoredRuns) for seed in (0, 1))
    assert not np.array_equal(one.gap_mean, other.gap_mean)
