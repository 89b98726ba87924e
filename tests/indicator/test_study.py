from dataclasses import replace
from pathlib import Path

import numpy as np

from lit_privq.data.gaussian import GaussianModes
from lit_privq.indicator.heads import HeadRecipe
from lit_privq.indicator.runs import StoredRuns, read_runs
from lit_privq.indicator.study import Experiment, IndicatorStudy, head_data, run_study


def test_what_is_stored_is_not_run_again_unless_it_changed(tmp_path: Path) -> None:
    data = GaussianModes(modes=3, dimension=8, pool_size=80, test_size=60)
    experiment = Experiment(data, HeadRecipe(epochs=2, snapshots=2), runs=6)
    stored = tmp_path / "runs" / "tiny-0.npz"
    times = []
    for same in (experiment, experiment, replace(experiment, runs=8)):
        run_study(IndicatorStudy({"tiny": same}), tmp_path, tmp_path)
        times.append(stored.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]
    assert read_runs(stored, StoredRuns).r.shape[1] == 8


def test_the_same_seeds_give_the_same_runs(tmp_path: Path) -> None:
    data = GaussianModes(modes=3, dimension=8, pool_size=80, test_size=60)
    study = IndicatorStudy({"tiny": Experiment(data, HeadRecipe(epochs=2, snapshots=2), runs=6)})
    for where in ("one", "other"):
        run_study(study, tmp_path / where, tmp_path)
    one, other = (read_runs(tmp_path / where / "runs" / "tiny-0.npz", StoredRuns) for where in ("one", "other"))
    np.testing.assert_array_equal(one.gap_mean, other.gap_mean)
    np.testing.assert_array_equal(one.advantage, other.advantage)


def test_an_odd_pool_gives_its_last_example_to_the_reference_set() -> None:
    task = head_data(GaussianModes(modes=3, dimension=8, pool_size=81, test_size=60).load(Path(), download=False))
    assert (len(task.inputs), len(task.test_inputs)) == (80, 61)
    assert (task.inputs[:, -1] == 1).all()
