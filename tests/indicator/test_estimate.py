from dataclasses import replace

import numpy as np
import pytest
import torch

from lit_privq.data.membership import half_membership
from lit_privq.indicator.estimate import (
    advantages_of_subsets,
    compete,
    confidence,
    largest_difference,
    lira_advantage,
    performance,
    run_experiment,
)
from lit_privq.indicator.gaps import indicator, loss_gaps
from lit_privq.indicator.heads import HeadData, HeadRecipe, head_losses, head_outputs, train_heads
from lit_privq.indicator.quantizers import compared_quantizers
from lit_privq.indicator.reach import INTERPOLATING
from lit_privq.indicator.runs import FULL_PRECISION, StoredRuns

CHOSEN = {name: compared_quantizers()[name] for name in ("sign", "ternary-90", "uniform-2", "uniform-8")}


def make_task(regression: bool) -> HeadData:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(260, 12, generator=generator)
    value = inputs @ torch.randn(12, generator=generator) + torch.randn(260, generator=generator)
    targets = (value - value.mean()) / value.std() if regression else (value > 0).long()
    return HeadData(inputs[:160], targets[:160], inputs[160:], targets[160:], 0 if regression else 2)


@pytest.fixture(scope="module")
def classified() -> StoredRuns:
    recipe = HeadRecipe(epochs=20, snapshots=10, batch_size=20, spacing=0)
    return run_experiment(
        "tiny-0", make_task(regression=False), half_membership(12, 160, seed=0), recipe, CHOSEN, attacked_subsets=3
    )


def test_the_indicator_of_a_run_is_that_of_its_distinct_codewords() -> None:
    """The slow obvious twin: one run at a time, duplicates removed by hand."""
    task = make_task(regression=False)
    snapshots = train_heads(task, half_membership(4, 160, seed=0), HeadRecipe(epochs=12, snapshots=8, spacing=0))
    quantizer = CHOSEN["ternary-90"]
    got = compete(snapshots, quantizer, task.test_inputs, task.test_targets)
    for run in range(4):
        frozen = quantizer.freeze(snapshots[-1][0][run : run + 1])
        codes = torch.unique(torch.cat([frozen.codes(layers[0][run : run + 1]) for layers in snapshots]), dim=0)
        outputs = head_outputs([frozen.weights(codes)], task.test_inputs)
        gaps = loss_gaps(head_losses(outputs, task.test_targets).numpy())
        assert got.distinct[run] == len(codes)
        # sums of float32 losses in another order
        np.testing.assert_allclose(indicator(got.gaps)[run], indicator(gaps), rtol=1e-3)


def test_a_run_that_never_changes_its_code_has_no_competitor() -> None:
    task = make_task(regression=False)
    snapshots = train_heads(task, half_membership(2, 160, seed=0), HeadRecipe(epochs=3, snapshots=1))
    got = compete(snapshots * 5, CHOSEN["sign"], task.test_inputs, task.test_targets)
    assert got.distinct.tolist() == [1, 1]
    assert indicator(got.gaps).tolist() == [np.inf, np.inf]


def test_every_snapshot_is_its_own_codeword_in_full_precision(classified: StoredRuns) -> None:
    row = classified.quantizers.index(FULL_PRECISION)
    assert (classified.distinct[row] == 10).all()
    assert classified.agreement[row] < 1e-6
    assert classified.flip_margin[row] == -np.inf


def test_a_finer_grid_keeps_more_of_the_performance_and_agrees_less(classified: StoredRuns) -> None:
    names = classified.quantizers
    kept = dict(zip(names, classified.kept_performance, strict=True))
    agreement = dict(zip(names, classified.agreement, strict=True))
    assert kept["ternary-90"] < kept["uniform-2"] < kept["uniform-8"] == pytest.approx(1, abs=0.01)
    assert agreement["ternary-90"] > agreement["uniform-2"] > agreement["uniform-8"]


def test_all_that_is_stored_has_its_shape(classified: StoredRuns) -> None:
    quantizers, runs, snapshots = len(CHOSEN) + 1, 12, 10
    assert classified.gap_mean.shape == (quantizers, runs, snapshots)
    assert classified.r.shape == classified.r_lse.shape == classified.bernstein.shape == (quantizers, runs)
    assert classified.performance.shape == (quantizers, runs)
    assert classified.advantage_of_subsets.shape == (quantizers, 1, 3)  # of 10 of the 12 runs
    assert classified.stability_of_lira().shape == (1, 3)
    assert classified.train_score.shape == (runs,)
    assert classified.n == 80
    assert classified.meta["metric"] == "AUROC"


def test_a_regression_is_estimated_alike() -> None:
    recipe = HeadRecipe(epochs=10, snapshots=5, batch_size=20, learning_rate=0.02)
    runs = run_experiment("values-0", make_task(regression=True), half_membership(8, 160, seed=0), recipe, CHOSEN)
    assert (runs.meta["kind"], runs.meta["metric"]) == ("regression", "R2")
    assert 0.3 < runs.performance[-1].mean() < 1
    assert (runs.r >= 0).all()


def test_interpolating_members_are_warned_of(classified: StoredRuns) -> None:
    fitted = replace(classified, train_score=np.ones(12))
    assert INTERPOLATING not in classified.cautions()
    assert fitted.cautions()[INTERPOLATING] == classified.quantizers


def test_lira_finds_members_that_models_remember_and_no_others() -> None:
    members = half_membership(32, 200, seed=0)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    plain = torch.randn(32, 200, 1, generator=generator)
    remembered = plain + 6 * torch.from_numpy(members)[..., None]
    signed = torch.where(labels[:, None] == 1, 1.0, -1.0)
    outputs = [torch.cat([torch.zeros_like(values), values * signed], dim=2) for values in (plain, remembered)]
    nothing, everything = (lira_advantage(confidence(values, labels), members) for values in outputs)
    assert everything > 0.95
    assert nothing < 0.06  # the largest difference of two empirical laws of 3200 scores is about 1.5 / sqrt(1600)


def test_largest_difference_of_equal_and_of_separate_scores() -> None:
    scores = np.arange(10.0)
    assert largest_difference(scores, scores) == 0
    assert largest_difference(scores + 10, scores) == 1
    assert largest_difference(scores, scores + 10) == 0


def test_performance_by_hand() -> None:
    values = torch.tensor([1.0, -1.0])
    assert performance(torch.tensor([[[1.0], [-1.0]], [[0.0], [0.0]]]), values)[1].tolist() == [1.0, 0.0]
    logits = torch.tensor([[[0.0, 3.0], [0.0, 1.0], [0.0, 2.0], [0.0, 2.0]]])
    name, auroc = performance(logits, torch.tensor([1, 0, 1, 0]))
    assert (name, auroc.tolist()) == ("AUROC", [3.5 / 4])  # of four pairs three in order, one tied
    assert performance(torch.eye(3)[None], torch.tensor([0, 1, 1]))[1].tolist() == pytest.approx([2 / 3])


def test_lira_settles_on_its_ranking_as_runs_are_added() -> None:
    rng = np.random.default_rng(0)
    members = half_membership(60, 300, seed=0)
    leaks = [confidence_of(members, shift, rng) for shift in (0.0, 0.4, 0.8, 1.6)]
    found = np.stack([advantages_of_subsets(each, members, n_subsets=8) for each in leaks])  # (leaks, sizes, subsets)
    whole = np.array([lira_advantage(each, members) for each in leaks])
    away = np.abs(found - whole[:, None, None]).mean(axis=(0, 2))
    assert away[0] > away[-1]
    assert (np.diff(found[:, -1].mean(axis=1)) > 0).all()


def confidence_of(members: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=members.shape) + shift * members
