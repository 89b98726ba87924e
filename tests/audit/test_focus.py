from __future__ import annotations

from collections.abc import Mapping
from math import nan

import pytest

from lit_privq.artifacts.measures import Change, Focus, TargetMean
from lit_privq.artifacts.results import Key
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.audit.focus import conclude

TWO, FOUR = Variant("obc", 2, 2), Variant("obc", 4, 4)
LIRA = "lira_online_fixed"


def means(*cells: tuple[Variant, str, str, str, float]) -> dict[Key, TargetMean]:
    """Means by variant, metric, attacker and attack."""
    return {Key(*key): TargetMean(value, nan, nan, nan, "untested", 2, 0, "untested") for *key, value in cells}  # type: ignore[arg-type]


def change(value: float, p: float, metric: str = "tpr_at_0.01", variant: Variant = TWO) -> dict[Key, Change]:
    key = Key(variant, metric, "unaware", LIRA) if metric.startswith("tpr") else Key(variant, metric)
    verdict = "unclear" if p >= 0.05 else "lower" if value < 0 else "higher"
    return {key: Change(value, value - 0.01, value + 0.01, p, nan, verdict, verdict)}  # type: ignore[arg-type]


def study(*, accuracy: bool = True) -> dict[Key, TargetMean]:
    """Full precision and two precisions, seen by one attacker and one attack."""
    found = means(*((v, "tpr_at_0.01", "unaware", LIRA, 0.1) for v in (FULL_PRECISION, FOUR, TWO)))
    return found | (means(*((v, "accuracy", "", "", 0.9) for v in (FULL_PRECISION, FOUR, TWO))) if accuracy else {})


def focus(found: Mapping[Key, TargetMean], changes: Mapping[Key, Change] | None = None) -> Focus:
    return conclude(found, changes or {}, [FULL_PRECISION, FOUR, TWO])[0]


def rate(metric: str, value: float, attacker: str = "unaware", variant: Variant = FULL_PRECISION, attack: str = LIRA):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return variant, metric, attacker, attack, value


def test_the_papers_bound_is_taken_where_it_was_measured() -> None:
    found = focus(means(rate("tpr_at_0.001", 0.02), rate("tpr_at_0.01", 0.1)))
    assert (found.metric, found.bound, found.chance, found.empty) == ("tpr_at_0.001", 0.001, 0.001, ())


@pytest.mark.parametrize(
    ("bounds", "chosen"), [((0.0001, 0.01, 0.1), 0.01), ((0.00001, 0.0001), 0.0001), ((0.05, 0.2), 0.05)]
)
def test_without_it_the_next_larger_bound_is_taken_then_the_next_smaller(
    bounds: tuple[float, ...], chosen: float
) -> None:
    assert focus(means(*(rate(f"tpr_at_{bound:g}", 0.1) for bound in bounds))).bound == chosen


def test_a_bound_that_some_target_is_too_small_for_is_passed_over_and_named() -> None:
    found = focus(means(rate("tpr_at_0.001", nan), rate("tpr_at_0.01", 0.1)))
    assert (found.metric, found.empty) == ("tpr_at_0.01", (0.001,))


def test_a_study_too_small_for_any_bound_is_seen_through_the_auc() -> None:
    found = focus(means(rate("tpr_at_0.01", nan), rate("auc", 0.6)))
    assert (found.metric, found.bound, found.chance) == ("auc", None, 0.5)


def test_the_papers_pair_of_attacks_comes_first_where_full_precision_met_it() -> None:
    others = [rate("auc", 0.6, attack=name) for name in ("mine", "lira_offline_fixed", LIRA)]
    assert focus(means(*others)).attacks == (LIRA, "lira_offline_fixed")
    assert focus(means(*others[:1])).attacks == ("mine",)
    quantized_only = rate("auc", 0.9, variant=TWO)
    assert focus(means(*others[:1], quantized_only)).attack == "mine"


def test_the_strongest_attacker_identifies_most_and_the_paired_one_is_left_out() -> None:
    found = focus(
        means(*(rate("auc", value, who, TWO) for who, value in (("unaware", 0.6), ("adaptive", 0.7), ("paired", 0.9))))
    )
    assert found.strongest["obc-2"] == "adaptive"
    assert found.best["obc-2"] == {"paired": LIRA, "adaptive": LIRA, "unaware": LIRA}
    assert list(found.best["obc-2"]) == ["paired", "adaptive", "unaware"]


def test_of_equally_strong_attackers_the_first_is_taken() -> None:
    assert (
        focus(means(*(rate("auc", 0.6, who, TWO) for who in ("unaware", "adaptive")))).strongest["obc-2"] == "unaware"
    )


def test_an_attackers_best_attack_has_the_largest_mean() -> None:
    found = focus(means(*(rate("auc", value, attack=name) for name, value in (("a", 0.6), ("b", 0.8), ("c", 0.7)))))
    assert found.best["none-32"] == {"unaware": "b"}


def test_no_attack_is_no_audit() -> None:
    with pytest.raises(ValueError, match="at least one attack; got none"):
        focus(means((FULL_PRECISION, "accuracy", "", "", 0.9)))


def test_holms_correction_counts_the_quantized_variants_of_the_headline_and_nothing_else() -> None:
    other = {Key(TWO, "auc", "unaware", LIRA): Change(-0.1, -0.2, -0.01, 0.001, nan, "lower", "lower")}
    changes = change(-0.05, 0.03) | change(-0.02, 0.04, variant=FOUR) | other
    found, counted = conclude(study(), changes, [FULL_PRECISION, FOUR, TWO])
    assert found.family == ("obc-4", "obc-2")
    assert [counted[found.key(v)].holm for v in (FOUR, TWO)] == pytest.approx([0.06, 0.06])
    assert [(counted[found.key(v)].alone, counted[found.key(v)].verdict) for v in (FOUR, TWO)] == [
        ("lower", "unclear")
    ] * 2
    assert counted[Key(TWO, "auc", "unaware", LIRA)] is other[Key(TWO, "auc", "unaware", LIRA)]


def test_the_least_costly_and_the_largest_saving_are_among_those_that_still_count() -> None:
    changes = change(-0.05, 0.001) | change(-0.02, 0.002, variant=FOUR)
    costs = change(-0.2, 0.01, "accuracy") | change(-0.01, 0.3, "accuracy", FOUR)
    found = focus(study(), changes | costs)
    assert (found.least_costly, found.largest) == ("obc-4", "obc-2")
    unsure = focus(study(), change(-0.05, 0.001) | change(-0.02, 0.06, variant=FOUR) | costs)
    assert (unsure.least_costly, unsure.largest) == ("obc-2", "obc-2")


def test_without_a_known_cost_none_is_least_costly() -> None:
    found = focus(study(accuracy=False), change(-0.05, 0.001))
    assert (found.utility, found.least_costly, found.largest) == ("", None, "obc-2")


def test_a_rise_is_no_saving() -> None:
    found = focus(study(), change(0.05, 0.001) | change(-0.01, 0.01, "accuracy"))
    assert (found.least_costly, found.largest) == (None, None)


@pytest.mark.parametrize("left", [0.15, 0.52])
def test_a_variant_that_guesses_or_loses_most_of_its_use_is_named_and_never_leads(left: float) -> None:
    useful = dict(zip((FULL_PRECISION, FOUR, TWO), (0.98, 0.97, left), strict=True))
    found = study(accuracy=False) | {
        Key(variant, "accuracy"): TargetMean(value, nan, nan, 0.1, "higher", 2, 2, "higher")
        for variant, value in useful.items()
    }
    changes = change(-0.02, 0.001, variant=FOUR) | change(-0.09, 0.001)
    costs = change(-0.01, 0.001, "accuracy", FOUR) | change(-0.83, 0.001, "accuracy")
    chosen = focus(found, changes | costs)
    assert chosen.guessing == (TWO.name,)
    assert chosen.least_costly == chosen.largest == FOUR.name
    assert set(chosen.family) == {FOUR.name, TWO.name}  # its test counts all the same


@pytest.mark.parametrize("value", [0.55, 0.98])
def test_a_variant_that_keeps_more_than_half_above_guessing_is_of_use(value: float) -> None:
    found = study(accuracy=False) | {
        Key(variant, "accuracy"): TargetMean(mean, nan, nan, 0.1, "higher", 2, 2, "higher")
        for variant, mean in ((FULL_PRECISION, 0.98), (TWO, value))
    }
    assert focus(found).guessing == ()


def test_nothing_is_called_a_guess_where_guessing_is_not_known() -> None:
    assert focus(study()).guessing == ()


def test_recipes_are_tested_with_the_quantized_variants_and_only_equal_baselines_are_ranked() -> None:
    names = ("none-32", "obc-2", "none-32@dp", "obc-2@dp")
    variants = [Variant.parse(name) for name in names]
    found = means(*((v, "tpr_at_0.01", "unaware", LIRA, 0.1) for v in variants))
    found |= means(*((v, "accuracy", "", "", 0.9) for v in variants))
    changes = {
        key: one
        for variant, value in zip(variants[1:], (-0.02, -0.03, -0.09), strict=True)
        for metric, p in (("tpr_at_0.01", 0.001), ("accuracy", 0.5))
        for key, one in change(value, p, metric, variant).items()
    }
    focus, counted = conclude(found, changes, variants)
    assert focus.family == names[1:]
    assert [counted[focus.key(v)].holm for v in variants[1:]] == pytest.approx([0.003] * 3)
    assert (focus.least_costly, focus.largest) == ("obc-2", "none-32@dp"), "obc-2@dp has another baseline"


def test_the_worst_cases_attacker_is_the_one_who_tells_the_slices_own_members_apart() -> None:
    """An unaware attacker may accuse canaries that were not trained on as well: a larger rate, a smaller area."""

    def canaries(metric: str, attacker: str, value: float, against: str) -> dict[Key, TargetMean]:
        key = Key(TWO, metric, attacker, LIRA, "canaries", against)
        return {key: TargetMean(value, nan, nan, nan, "untested", 2, 0, "untested")}

    rates = canaries("tpr_at_0.01", "unaware", 0.6, "pool") | canaries("tpr_at_0.01", "adaptive", 0.4, "pool")
    areas = canaries("auc", "unaware", 0.7, "slice") | canaries("auc", "adaptive", 0.8, "slice")
    assert focus(study() | rates | areas).worst_strongest["obc-2"] == "adaptive"
    assert focus(study() | rates).worst_strongest["obc-2"] == "unaware"
