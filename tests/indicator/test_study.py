import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from lit_privq.data.gaussian import GaussianModes
from lit_privq.indicator.claims import claims, read_study
from lit_privq.indicator.heads import Recipe
from lit_privq.indicator.problems import FiniteProblems, least_squares, solve_problems, ternary_rates
from lit_privq.indicator.runs import StoredRuns, read_runs
from lit_privq.indicator.study import Experiment, IndicatorStudy, main, run, run_study, task_of

CONFIGS = Path(__file__).parents[2] / "configs" / "study"

TINY = """
study:
  finite: {problems: 2, values: 3, n: 12, rates: 1}
  experiments:
    modes3:
      dataset:
        class_path: lit_privq.data.gaussian.GaussianModes
        init_args: {modes: 3, dimension: 8, pool_size: 81, test_size: 60}
      recipe: {epochs: 6, snapshots: 5}
      runs: 8
      seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("mis")
    (where / "tiny.yaml").write_text(TINY)
    main(["run", "--config", str(where / "tiny.yaml"), "--output", str(where / "out")])
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
    main(["show", "--folders", f"[{folder / 'out'}]", "--output", str(tmp_path)])
    assert (tmp_path / "mis.md").read_text() == (folder / "out" / "mis.md").read_text()


def test_what_is_stored_is_not_run_again_unless_it_changed(tmp_path: Path) -> None:
    data = GaussianModes(modes=3, dimension=8, pool_size=80, test_size=60)
    experiment = Experiment(data, Recipe(epochs=2, snapshots=2), runs=6)
    stored = tmp_path / "runs" / "tiny-0.npz"
    times = []
    for same in (experiment, experiment, replace(experiment, runs=8)):
        run_study(IndicatorStudy({"tiny": same}), tmp_path)
        times.append(stored.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]
    assert read_runs(stored, StoredRuns).r.shape[1] == 8


def test_the_same_seeds_give_the_same_runs(tmp_path: Path) -> None:
    data = GaussianModes(modes=3, dimension=8, pool_size=80, test_size=60)
    study = IndicatorStudy({"tiny": Experiment(data, Recipe(epochs=2, snapshots=2), runs=6)})
    for where in ("one", "other"):
        run_study(study, tmp_path / where)
    one, other = (read_runs(tmp_path / where / "runs" / "tiny-0.npz", StoredRuns) for where in ("one", "other"))
    np.testing.assert_array_equal(one.gap_mean, other.gap_mean)
    np.testing.assert_array_equal(one.advantage, other.advantage)


def test_other_seeds_give_other_runs(folder: Path) -> None:
    one, other = (read_runs(folder / "out" / "runs" / f"modes3-{seed}.npz", StoredRuns) for seed in (0, 1))
    assert not np.array_equal(one.gap_mean, other.gap_mean)


def test_claims_of_the_gaussian_gap_and_of_the_bound_hold(folder: Path) -> None:
    found = {claim.claim.partition(",")[0]: claim.values for claim in claims(*read_study([folder / "out"]))}
    r, exact = found["Gaussian gap"]
    assert r == pytest.approx(exact, rel=1e-6)  # the tails beyond nine deviations
    assert found["Bernstein bound below brute-force MIS: least slack"][0] >= -1e-12


def test_an_odd_pool_gives_its_last_example_to_the_reference_set() -> None:
    task = task_of(GaussianModes(modes=3, dimension=8, pool_size=81, test_size=60).load(Path(), download=False))
    assert (len(task.inputs), len(task.test_inputs)) == (80, 61)
    assert (task.inputs[:, -1] == 1).all()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("mis_*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_are_parsed_and_have_at_least_fifty_runs(path: Path) -> None:
    parser = ArgumentParser()
    parser.add_function_arguments(run)
    parser.add_argument("--config", action="config")
    given = parser.parse_args(["--config", str(path), "--output", "unused"])
    assert all(experiment["runs"] >= 50 for experiment in given.study.experiments.values())


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no stored runs; run the study first"):
        main(["show", "--folders", f"[{tmp_path}]", "--output", str(tmp_path)])


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", r=np.ones(3))
    with pytest.raises(ValueError, match="is no stored indicator"):
        read_runs(tmp_path / "other.npz", StoredRuns)


def test_least_squares_is_the_weighted_solution() -> None:
    rng = np.random.default_rng(0)
    inputs, targets, weights = rng.normal(size=(7, 3)), rng.normal(size=7), rng.dirichlet(np.ones(7))
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(root[:, None] * inputs, root * targets, rcond=None)[0]
    np.testing.assert_allclose(least_squares(weights[None], inputs, targets, ridge=0.0)[0], expected, rtol=1e-9)


def test_the_indicator_comes_close_to_the_exact_rate() -> None:
    for seed in range(5):
        r, exact = ternary_rates(np.random.default_rng(seed))
        assert r == pytest.approx(exact, rel=0.1)  # a Gaussian's exponent in place of the gap's own


def test_the_bound_holds_on_every_finite_problem() -> None:
    truth = solve_problems(FiniteProblems(problems=4, values=3, n=60, rates=1, seed=1))
    assert (truth.bernstein <= 1 - truth.risk + 1e-12).all()
    assert ((truth.risk >= 0) & (truth.risk <= 1) & (truth.rounding >= 0) & (truth.rounding <= 1)).all()
