import numpy as np

from lit_privq.artifacts.scores import AttackScores
from lit_privq.metrics.roc import roc
from lit_privq.report.sections.curves import mean_curve


def test_every_point_of_the_mean_lies_on_the_targets_rocs() -> None:
    rng = np.random.default_rng(0)
    members = np.stack([rng.permutation(np.arange(400) % 2 == 0) for _ in range(3)])
    scores = np.round(rng.normal(size=(3, 400)) + members, 1)  # rounded: with ties
    curve = mean_curve(AttackScores(np.arange(3), members, scores))
    for point, fpr in enumerate(curve.fpr):
        slow = []
        for row, inside in zip(scores, members, strict=True):
            exact = roc(row, inside)
            slow.append(exact.tpr[exact.fpr <= fpr + 1e-12][-1])
        np.testing.assert_allclose(curve.mean[point], np.mean(slow))
        np.testing.assert_allclose(curve.deviation[point], np.std(slow, ddof=1))


def test_the_curve_ends_where_everybody_is_accused() -> None:
    members = np.array([[True, True, False, False]])
    curve = mean_curve(AttackScores(np.array([0]), members, np.array([[0.0, 1.0, 2.0, 3.0]])))
    assert curve.mean[-1] == 1
    assert curve.mean[0] == 0
