from pathlib import Path

import numpy as np

from lit_privq.indicator.figures import Cloud, draw_clouds, draw_lambdas, draw_maps, draw_stability, draw_truth, save
from lit_privq.indicator.stability import rank_stability


def test_a_point_without_a_finite_rate_is_left_out() -> None:
    cloud = Cloud("tiny", ("sign", "uniform-2", "full"), np.array([np.inf, 1e-3, 0.0]), np.array([0.9, 0.8, 0.7]))
    (axes,) = draw_clouds([cloud], "r", "security").axes
    assert [text.get_text() for text in axes.texts] == ["uniform-2"]


def test_every_experiment_has_its_panel_and_no_panel_is_empty() -> None:
    clouds = [Cloud(str(k), ("sign",), np.array([1e-3]), np.array([0.9])) for k in range(5)]
    assert len(draw_clouds(clouds, "r", "security").axes) == 5


def test_quantizers_are_listed_as_all_runs_rank_them_with_the_least_private_first() -> None:
    values = np.array([[2.0, 2.1, 2.2], [3.0, 3.1, 3.2], [1.0, 1.1, 1.2]])  # the third quantizer is the least private
    figure = draw_stability("tiny", ("a", "b", "c"), rank_stability(values, (1, 2), 4), ([1, 2], np.ones((2, 5))))
    _, pies, *tables = figure.subfigs[0].axes + figure.subfigs[1].axes
    assert [label.get_text() for label in pies.get_yticklabels()] == ["1: c", "2: a", "3: b"]
    for table in tables:
        assert [label.get_text() for label in table.get_yticklabels()] == ["c", "a", "b"]
        np.testing.assert_array_equal(table.images[0].get_array(), np.eye(3))


def test_a_map_a_panel_and_a_line_a_quantizer() -> None:
    weights = np.linspace(-1, 1, 5)
    assert len(draw_maps(weights, dict.fromkeys(("sign", "absmean", "uniform-2"), weights)).axes) == 3
    (axes,) = draw_lambdas("tiny", {"sign": np.ones(3), "full": np.ones(4)}).axes
    assert len(axes.lines) == 2


def test_what_is_known_to_be_lost_is_drawn_even_where_it_is_nothing() -> None:
    axes = draw_truth(("sign", "absmean"), np.full((2, 2), 0.1), {"tiny": np.zeros((2, 2))}).axes[0]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [1e-16, 1e-16]


def test_figures_are_saved_as_png_and_svg(tmp_path: Path) -> None:
    save(draw_lambdas("tiny", {"sign": np.ones(3)}), tmp_path / "new" / "figure.1")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["figure.1.png", "figure.1.svg"]
