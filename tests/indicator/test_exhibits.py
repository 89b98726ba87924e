from pathlib import Path

import pytest

from lit_privq.data import GaussianModes
from lit_privq.indicator import Experiment, HeadRecipe, IndicatorStudy
from lit_privq.indicator.claims import read_folders
from lit_privq.indicator.exhibits import draw_exhibits
from lit_privq.indicator.study import run_study


@pytest.mark.slow
def test_a_study_without_known_truth_is_drawn_in_every_exhibit_that_it_has_numbers_for(tmp_path: Path) -> None:
    data = GaussianModes(modes=3, dimension=8, pool_size=80, test_size=60)
    study = IndicatorStudy({"modes3": Experiment(data, HeadRecipe(epochs=6, snapshots=5), runs=8)})
    run_study(study, tmp_path, tmp_path)
    runs, truth = read_folders([tmp_path])
    assert truth is None
    draw_exhibits(runs, truth, tmp_path / "figures")
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {
        "5_quantizers", "1_stability_modes3", "lambda_modes3", "2_lira_synthetic", "3_classification",
    }  # fmt: skip
