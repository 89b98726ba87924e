"""What the numbers can and cannot say, in sentences computed from the data."""

from __future__ import annotations

from collections.abc import Iterator

from lit_privq.artifacts.measures import PAPER_BOUND
from lit_privq.artifacts.results import Results
from lit_privq.artifacts.scores import AttackScores
from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.table import attackers
from lit_privq.report.utility import R_SQUARED
from lit_privq.report.view import View
from lit_privq.report.words import bound_percent, capitalized, counted, joined

_ATTACKERS = {
    "unaware": "The unaware attacker learns from full-precision shadow models.",
    "adaptive": "The adaptive attacker quantizes their shadow models exactly as the target was; a defence must also "
    "hold against this attacker.",
    "paired": "The paired attacker also holds the full-precision model that the target was made from and attacks that "
    "one too. They are therefore left out of the strongest attacker and of the headline, and counted only in the "
    "strongest of all attacks.",
}


def section(view: View, inputs: Inputs) -> Section:
    """Always there."""
    plain, shadows = view.results.full_precision, inputs.study.get("n_shadows")
    sentences = notes(view, inputs.scores.get(plain) if plain else None, shadows if isinstance(shadows, int) else None)
    return Section("notes", "How far to trust it", {"notes": sentences, "remarks": view.measures.notes})


def notes(view: View, scores: AttackScores | None, n_shadows: int | None) -> list[str]:
    """All notes, in reading order."""
    return [
        *_interval_notes(view, n_shadows),
        *_operating_point(view, scores),
        *(note for name, note in _ATTACKERS.items() if name in attackers(view.results) and view.results.methods),
        *_recipes(view),
        *_unaware_only(view),
        *_fidelity(view.results),
        *_values(view),
        *_limits(view.results),
    ]


def _unaware_only(view: View) -> Iterator[str]:
    """Methods without an adaptive attacker, in a study where others have one."""
    results = view.results
    unaware = [
        method
        for method in results.methods
        if all("adaptive" not in results.attackers(v) for v in results.variants if v.method == method)
    ]
    if unaware and "adaptive" in attackers(results):
        yield (
            f"{joined([view.titles.method(method) for method in unaware])}: attacked by the unaware attacker only, to "
            "save time; an adaptive one may identify more."
        )


def _recipes(view: View) -> Iterator[str]:
    """What is compared with what, in a study of several recipes."""
    if len(view.results.recipes) > 1:
        yield (
            "Models of every recipe have the same members, and each is attacked with shadow models of its own recipe. "
            "A quantized variant is compared with full precision of its recipe, and a recipe in full precision with "
            "the first one."
        )


def _fidelity(results: Results) -> Iterator[str]:
    """Why methods are not to be compared at equal bits alone."""
    if len(results.methods) > 1:
        yield (
            "A more accurate quantizer keeps more of the network, also of what it memorized, and may leak more at "
            "equal bits. Compare methods at equal accuracy."
        )


def _values(view: View) -> Iterator[str]:
    """What is different for regression."""
    if view.utility is R_SQUARED:
        yield (
            "These models predict values. R² is the share of the test labels’ variance that a model explains: 1 is "
            "perfect, 0 is as good as always predicting their mean, and it can be any negative number. The attacks use "
            "the negative squared error as the confidence. RMIA and BASE compare probabilities of classes and do not "
            "apply."
        )


def _interval_notes(view: View, n_shadows: int | None) -> Iterator[str]:
    """What the intervals mean and what they do not cover."""
    count = len(view.results.targets)
    shadows = f" and {counted(n_shadows, 'shadow model')}" if n_shadows else ""
    yield f"{capitalized(counted(count, 'target model'))}{shadows}."
    if count < 2:
        yield (
            "Intervals are those of one target’s examples. One target does not tell how much targets differ: nothing "
            "here is said of other targets."
        )
        return
    yield (
        "Intervals are for other targets, 95 % by Student’s t over these. They share the shadow models, the pool of "
        "examples and the test set, so the intervals do not cover what another draw of these would change. A "
        "statement about each of these targets goes by the target’s own interval, that of its examples."
    )
    if not view.measures.changes:
        return
    yield (
        "Differences from full precision are taken target by target. One is called a difference where its p-value is "
        "below 0.05 with all variants counted (Holm’s correction), each by its strongest attacker; changes "
        f"of {view.utility.name} where their 95 % interval leaves 0 out."
    )


def _operating_point(view: View, scores: AttackScores | None) -> Iterator[str]:
    """How few non-members decide a rate, and why a bound is empty."""
    fewest = int((~scores.members).sum(axis=1).min()) if scores else None
    if fewest and view.bound is not None:
        allowed = view.bound * fewest
        yield (
            f"Each target is judged on {fewest} non-members: at {bound_percent(view.bound)} FPR about "
            f"{allowed:.0f} of them decide, those with the highest scores."
        )
    if view.focus.empty:
        bounds = joined([bound_percent(bound) for bound in view.focus.empty])
        of = f" among {fewest}" if fewest else ""
        several = len(view.focus.empty) > 1
        yield (
            f"{f'Bounds of {bounds}' if several else f'A bound of {bounds}'} would mean fewer than one false "
            f"positive{of}: the {'values are' if several else 'value is'} left empty, not 0."
            f"{_instead(view)}"
        )


def _instead(view: View) -> str:
    """What stands where the paper has its bound, as the end of a note; empty where that bound itself does."""
    here = "the AUC" if view.bound is None else bound_percent(view.bound)
    if PAPER_BOUND in view.focus.empty:
        return f" The paper’s figure has {bound_percent(PAPER_BOUND)} on its axis; here it is {here}."
    return "" if view.bound == PAPER_BOUND else f" The page shows {here} instead."


def _limits(results: Results) -> Iterator[str]:
    """What holds for every audit."""
    if len(attackers(results)) > 1:
        yield "The strongest attacker is chosen by its mean on these same targets: that mean is slightly too high."
    yield "An attack that succeeds shows that a model leaks; one that fails does not show that it does not leak."
