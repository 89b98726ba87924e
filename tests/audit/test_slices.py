from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed, score_held_out, standard
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Measure, Measurements, measure
from lit_privq.audit.slices import Slices, most_vulnerable, of_case

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
EXAMPLES = 60


def case_of(members: Mask, *calibration: list[int]) -> Case:
    """Targets of which nothing but their members matters."""
    targets = Observed(np.zeros(members.shape), members)
    shadows = Observed(np.zeros((2, members.shape[1])), np.stack([members[0], ~members[0]]))
    chosen = tuple(np.array(each, np.int64) for each in calibration or [[]] * len(members))
    return Case("mine", "", FULL_PRECISION, "unaware", np.arange(len(members)), shadows, targets, None, chosen)


def measured(scores: Floats, members: Mask, bounds: tuple[float, ...], slices: dict[str, Mask]) -> Measurements:
    return measure(case_of(members), {"a": scores}, bounds, 20, 0, slices)


def leaking(targets: int, examples: int, seed: int = 0) -> tuple[Floats, Mask]:
    """Scores of members that lie higher, (targets, examples) each."""
    random = np.random.default_rng(seed)
    members = random.random((targets, examples)) < 0.5
    return random.normal(size=members.shape) + 1.0 * members, members


def models(labels: NDArray[np.int64] | None = None, examples: int = EXAMPLES) -> Observed:
    members = np.arange(8)[:, None] % 2 == np.arange(examples) % 2
    return Observed(np.zeros((8, examples)), members, labels=labels)


# What is measured on a slice


@pytest.mark.parametrize(("metric", "against"), [("auc", "pool"), ("tpr_at_0.1", "pool"), ("tpr_at_0.1", "slice")])
def test_a_slice_drawn_at_random_has_the_wholes_rate_within_its_interval(metric: str, against: str) -> None:
    scores, members = leaking(1, 4000)
    random = np.random.default_rng(1)
    slices = {str(number): random.random(4000) < 0.1 for number in range(200)}
    found = measured(scores, members, (0.1,), slices)["a"]
    whole = float(found[Measure(metric)].estimates[0])
    ends = np.array([found[Measure(metric, name, against)].own_interval(0) for name in slices])
    covered = float(((ends[:, 0] <= whole) & (whole <= ends[:, 1])).mean())
    assert covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)
    values = np.array([found[Measure(metric, name, against)].estimates[0] for name in slices])
    assert abs(values.mean() - whole) < 4 * values.std(ddof=1) / np.sqrt(200)


def test_slices_that_partition_the_pool_add_up_to_the_wholes_counts_at_one_threshold() -> None:
    scores, members = leaking(3, 900)
    part = np.random.default_rng(2).integers(0, 4, 900)
    slices = {f"part_{number}": part == number for number in range(4)}
    found = measured(scores, members, (0.01, 0.2), slices)["a"]
    inside = {name: (members & mask).sum(axis=1) for name, mask in slices.items()}
    for metric in ("tpr_at_0.01", "tpr_at_0.2", "auc"):
        total = sum(found[Measure(metric, name)].estimates * count for name, count in inside.items())
        np.testing.assert_allclose(total, found[Measure(metric)].estimates * members.sum(axis=1), rtol=1e-12)
    for name in slices:  # one threshold: the false positives are everybody's
        np.testing.assert_array_equal(found[Measure("tpr_at_0.2", name)].fpr, found[Measure("tpr_at_0.2")].fpr)


def test_pool_and_slice_name_whose_non_members_set_the_threshold() -> None:
    members = np.array([[True, True, False, False, True, False, False, False]])
    scores = np.array([[5.0, 1.0, 4.0, 0.0, 9.0, 8.0, 7.0, 6.0]])
    slices = {"first": np.arange(8) < 4}
    found = measured(scores, members, (0.6,), slices)["a"]
    # Of all five non-members two may score higher: the threshold lies above 6, and neither 5 nor 1 is found. Of the
    # slice's own two, 4 and 0, one may: the threshold lies above 0, and both are.
    assert found[Measure("tpr_at_0.6", "first", "pool")].estimates == [0.0]
    assert found[Measure("tpr_at_0.6", "first", "slice")].estimates == [1.0]
    assert found[Measure("auc", "first", "pool")].estimates == [(2 + 1) / (2 * 5)]
    assert found[Measure("auc", "first", "slice")].estimates == [(2 + 1) / (2 * 2)]


def test_a_bound_below_one_false_positive_of_the_slices_own_is_empty_by_that_rule_alone() -> None:
    scores, members = leaking(1, 2000)
    found = measured(scores, members, (0.01,), {"few": np.arange(2000) < 60})["a"]
    assert np.isfinite(found[Measure("tpr_at_0.01", "few", "pool")].estimates).all()
    assert np.isnan(found[Measure("tpr_at_0.01", "few", "slice")].estimates).all()
    assert np.isnan(found[Measure("tpr_at_0.01", "few", "slice")].own_interval(0)).all()


def test_a_slice_of_one_example_is_measured_where_it_is_a_member_and_empty_elsewhere() -> None:
    scores, members = leaking(2, 400)
    members[:, 7] = True, False
    found = measured(scores, members, (0.1,), {"one": np.arange(400) == 7})["a"]
    assert found[Measure("auc", "one")].estimates[0] == (scores[0, ~members[0]] < scores[0, 7]).mean()
    assert all(np.isnan(found[Measure(metric, "one")].estimates[1]) for metric in ("auc", "tpr_at_0.1"))
    low, high = found[Measure("tpr_at_0.1", "one")].own_interval(0)
    assert high - low > 0.8  # one member says next to nothing


@pytest.mark.parametrize("without", [0, 1])
def test_a_target_without_non_members_in_a_slice_is_empty_by_the_slices_own_rule_alone(without: int) -> None:
    scores, members = leaking(2, 400)
    members[:, 0], members[:, 1:6] = True, False
    members[without, :6] = True
    found = measured(scores, members, (0.5,), {"few": np.arange(400) < 6})["a"]
    own = {against: found[Measure("auc", "few", against)].estimates for against in ("pool", "slice")}
    assert np.isfinite(own["pool"]).all()
    assert np.isnan(own["slice"]).tolist() == [without == 0, without == 1]
    other = 1 - without
    assert own["slice"][other] == (scores[other, 1:6] < scores[other, 0]).mean()


def test_examples_that_no_model_learns_from_have_an_area_of_one_half() -> None:
    random = np.random.default_rng(5)
    examples, shadows, targets = 2000, 16, 12
    inert = np.arange(examples) < 200
    members = np.vstack(
        [
            np.argsort(random.random((shadows, examples)), axis=0) < shadows // 2,
            random.random((targets, examples)) < 0.5,
        ]
    )
    gap = np.where(inert, 0.0, 3.0)
    confidence = random.normal(size=examples) + gap * members + random.normal(size=members.shape)
    everyone = Observed(confidence, members)
    attacks = {name: standard()[name] for name in ("lira_online", "lira_online_fixed", "lira_offline_fixed")}
    inside, outside = everyone.models(range(shadows)), everyone.models(range(shadows, shadows + targets))
    scores = score_held_out(attacks, inside, outside)
    case = Case("mine", "", FULL_PRECISION, "unaware", np.arange(targets), inside, outside, None, ())
    found = measure(case, scores, (0.1,), 0, 0, {"canaries": inert})
    for attack in attacks:
        own = found[attack][Measure("auc", "canaries", "slice")].estimates
        assert abs(own.mean() - 0.5) < 3 * own.std(ddof=1) / np.sqrt(targets)
        assert found[attack][Measure("auc")].estimates.min() > 0.7


# Which slices there are


def test_classes_are_slices_by_the_labels() -> None:
    labels = np.arange(EXAMPLES) % 3
    found = Slices(classes=True).masks(models(labels), {})
    assert list(found) == ["class_0", "class_1", "class_2"]
    np.testing.assert_array_equal(found["class_2"], labels == 2)


@pytest.mark.parametrize("labels", [None, np.linspace(0, 1, EXAMPLES, dtype=np.float32)])
def test_classes_need_labels_that_are_classes(labels: NDArray[np.int64] | None) -> None:
    with pytest.raises(ValueError, match=r"needs labels that are classes; got none, set slices.classes to false"):
        Slices(classes=True).masks(models(labels), {})


def test_a_file_gives_slices_as_booleans_or_as_numbers_of_examples(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", old=np.arange(EXAMPLES) < 5, rare=np.array([3, 59, 3]))
    found = Slices(file=tmp_path / "mine.npz").masks(models(), {"canaries": np.arange(EXAMPLES) == 1})
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "canaries": [1],
        "old": [0, 1, 2, 3, 4],
        "rare": [3, 59],
    }


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("rare", np.zeros(EXAMPLES, bool), r"slice rare in .*mine.npz holds no example; leave it out"),
        ("rare", np.array([], np.int64), r"slice rare in .*mine.npz holds no example; leave it out"),
        ("rare", np.ones(59, bool), r"slice rare in .* must hold one boolean for each of 60 examples; got 59"),
        ("rare", np.array([1, 60]), r"slice rare in .* must hold numbers of examples in \[0, 60\); got 60"),
        ("rare", np.array([-1, 2]), r"slice rare in .* must hold numbers of examples in \[0, 60\); got -1"),
        ("rare", np.ones(EXAMPLES), r"slice rare in .* booleans, or numbers of examples; got float64 \(60,\)"),
        ("rare", np.ones((2, EXAMPLES), bool), r"slice rare in .* must be .* got bool \(2, 60\)"),
        ("all", np.ones(EXAMPLES, bool), r"the name all is taken by another slice; rename the slice all in .*mine.npz"),
        ("calibration", np.ones(EXAMPLES, bool), "the name calibration is taken"),
        ("most_vulnerable", np.ones(EXAMPLES, bool), "the name most_vulnerable is taken"),
        (
            "canaries",
            np.ones(EXAMPLES, bool),
            r"the name canaries is taken by .* rename the slice canaries in .*mine.npz",
        ),
        ("class_1", np.ones(EXAMPLES, bool), "the name class_1 is taken"),
        ("my, own", np.ones(EXAMPLES, bool), r"one word of letters, digits and .*; got 'my, own' in .*mine.npz"),
    ],
)
def test_a_slice_that_fits_nothing_is_refused_by_name(
    tmp_path: Path, name: str, array: NDArray[np.generic], said: str
) -> None:
    np.savez(tmp_path / "mine.npz", **{name: array})
    with pytest.raises(ValueError, match=said):
        Slices(classes=True, file=tmp_path / "mine.npz").masks(
            models(np.arange(EXAMPLES) % 3), {"canaries": np.arange(EXAMPLES) == 1}
        )


@pytest.mark.parametrize(("name", "mask"), [("all", np.ones(EXAMPLES, bool)), ("class_1", np.ones(EXAMPLES, bool))])
def test_a_slice_of_the_data_set_under_a_name_that_is_taken_is_refused(name: str, mask: Mask) -> None:
    with pytest.raises(ValueError, match=f"the name {name} is taken by another slice"):
        Slices(classes=True).masks(models(np.arange(EXAMPLES) % 3), {name: mask})


def test_an_empty_slice_of_the_data_set_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="slice canaries in the data set holds no example"):
        Slices().masks(models(), {"canaries": np.zeros(EXAMPLES, bool)})


@pytest.mark.parametrize("share", [-0.1, 1.0, 5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="a share of the examples in"):
        Slices(most_vulnerable=share)


# The most vulnerable examples


def exposing(rows: slice, exposed: NDArray[np.int64], seed: int = 3) -> Observed:
    """Sixteen models, of which some memorize the exposed examples."""
    random = np.random.default_rng(seed)
    # Two models in turn share a half, so that each parity has members and non-members of every example.
    halves = np.argsort(random.random((8, EXAMPLES)), axis=0) < 4
    members = np.repeat(halves, 2, axis=0)  # (models, examples)
    confidence = random.normal(size=members.shape)
    learnt = np.zeros(members.shape, bool)
    learnt[rows, exposed] = True
    return Observed(confidence + 20.0 * (learnt & members), members)


def test_the_most_vulnerable_of_shadows_are_those_that_training_moves_most() -> None:
    exposed = np.array([4, 17, 40])
    found = most_vulnerable(exposing(slice(None), exposed), 0.05, judged=False)
    assert found is not None
    assert np.flatnonzero(found).tolist() == exposed.tolist()


def test_a_model_that_is_judged_has_no_say_in_what_it_is_judged_on() -> None:
    exposed = np.array([4, 17, 40])
    models = exposing(slice(None), exposed)
    found = most_vulnerable(models, 0.05, judged=True)
    assert found is not None
    assert found.shape == models.members.shape
    assert (found.sum(axis=1) == 3).all()
    for left_out, row in enumerate(found):
        others = models.models([model for model in range(16) if model != left_out])
        np.testing.assert_array_equal(row, most_vulnerable(others, 0.05, judged=False))
    changed = np.array(models.confidence)
    changed[4] = np.random.default_rng(8).normal(size=(EXAMPLES, 1)) * 50
    again = most_vulnerable(Observed(changed, models.members), 0.05, judged=True)
    assert again is not None
    np.testing.assert_array_equal(again[4], found[4])
    assert not np.array_equal(again, found)


def test_six_balanced_models_are_enough_to_judge_each_on_what_the_others_choose() -> None:
    random = np.random.default_rng(0)
    members = np.argsort(random.random((6, EXAMPLES)), axis=0) < 3
    found = most_vulnerable(Observed(random.normal(size=members.shape) + 9 * members, members), 0.1, judged=True)
    assert found is not None
    assert (found.sum(axis=1) == 6).all()


def test_the_choice_of_the_most_vulnerable_favours_no_one_where_nothing_leaks() -> None:
    areas = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        members = np.argsort(random.random((48, 600)), axis=0) < 24
        null = Observed(random.normal(size=members.shape), members)
        mask = most_vulnerable(null, 0.1, judged=True)
        assert mask is not None
        found = measured(np.array(null.confidence)[..., 0], members, (0.1,), {"chosen": mask})
        areas.append(found["a"][Measure("auc", "chosen")].estimates.mean())
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas, ddof=1) / np.sqrt(len(areas))


def test_at_least_one_example_is_most_vulnerable_and_too_few_models_choose_none() -> None:
    found = most_vulnerable(exposing(slice(None), np.array([9])), 0.001, judged=False)
    assert found is not None
    assert np.flatnonzero(found).tolist() == [9]
    few = exposing(slice(None), np.array([9])).models([0, 2, 4])
    assert most_vulnerable(few, 0.1, judged=False) is None
    assert most_vulnerable(few, 0.1, judged=True) is None


# Calibration examples


def test_calibration_examples_and_the_others_are_slices_of_each_target() -> None:
    members = np.ones((2, 6), bool)
    members[:, 5] = False
    found = of_case(case_of(members, [0, 1], [3]), {"canaries": np.arange(6) == 2})
    assert list(found) == ["canaries", "calibration", "not_calibration"]
    assert [np.flatnonzero(row).tolist() for row in found["calibration"]] == [[0, 1], [3]]
    np.testing.assert_array_equal(found["not_calibration"], ~found["calibration"])


def test_models_that_nothing_calibrated_have_no_such_slices() -> None:
    masks = {"canaries": np.arange(6) == 2}
    assert of_case(case_of(np.ones((2, 6), bool)), masks) == masks


def test_members_that_calibrated_and_the_others_add_up_to_all() -> None:
    scores, members = leaking(2, 300)
    chosen = [np.flatnonzero(row)[:40].tolist() for row in members]
    found = measured(scores, members, (0.2,), of_case(case_of(members, *chosen), {}))["a"]
    parts = {name: found[Measure("tpr_at_0.2", name)].estimates for name in ("calibration", "not_calibration")}
    total = 40 * parts["calibration"] + (members.sum(axis=1) - 40) * parts["not_calibration"]
    np.testing.assert_allclose(total, found[Measure("tpr_at_0.2")].estimates * members.sum(axis=1), rtol=1e-12)
    assert Measure("auc", "calibration", "slice") not in found  # no non-member is among them
