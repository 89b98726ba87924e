"""How often 95 % intervals cover the truth, on simulated scores whose truth is known.

python benchmarks/coverage.py [--quick] [--trials N] [--only PART ...] [--json FILE]

Unless said otherwise members score N(gap, 1) and non-members N(0, 1); where targets differ, so do their gaps. Intervals
over targets are taken as an audit takes them. "se" is the Monte-Carlo standard error of the coverage. Bounds that hold
by construction cover at least 95 %; what they cover beyond it is their price.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import binom

from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import Observed
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Measure, PerTarget, measure
from lit_privq.metrics import (
    Bonferroni,
    Estimate,
    Fixed,
    OperatingPoint,
    Split,
    auc,
    auc_interval,
    balanced_accuracy_interval,
    best_balanced_accuracy,
    bootstrap,
    clopper_pearson,
    difference_over_targets,
    epsilon_lower_bound,
    interval,
    mean_log_aurocs,
    mean_over_targets,
    one_run_epsilon,
    per_example_rates,
    predictive_value,
    rate_interval,
    redrawn_log_aurocs,
    redrawn_tpr,
    resample,
    roc,
    tpr_at_fpr,
    trade_off,
    wilson,
)
from lit_privq.metrics.epsilon import ThresholdChoice, operating_point_at
from lit_privq.metrics.log_auroc import true_rates
from lit_privq.metrics.roc import Floats, Roc

Statistic = Callable[[Roc], Floats]
Truth = Callable[[Floats | float], Floats | float]  # of a gap

RESAMPLES = 300
RATES = {"TPR at 5 %": 0.05, "TPR at 1 %": 0.01, "TPR at 0.1 %": 0.001}
STATISTICS: Mapping[str, tuple[Statistic, Truth]] = {
    "AUC": (auc, lambda gap: ndtr(gap / np.sqrt(2))),
    **{
        name: (partial(tpr_at_fpr, max_fpr=bound), lambda gap, bound=bound: 1 - ndtr(ndtri(1 - bound) - gap))
        for name, bound in RATES.items()
    },
}
LOGARITHMIC = {"log_auroc": "log-AUROC, loglog", "semilog_auroc": "log-AUROC, semilog"}
REPORTED = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "tpr_at_0.05": "TPR at 5 %",
    "tpr_at_0.01": "TPR at 1 %",
    **LOGARITHMIC,
}
FIXED = tuple((gap, gap) for gap in (0.0, 1.0, 2.0, 4.0))  # gaps of slices: least and largest
ANY = 0.0, 4.5
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)  # to average over gaps


@dataclass(frozen=True)
class Row:
    """How often one kind of interval covered in one setting.

    Args:
        kind: of interval.
        setting: what was simulated.
        coverage: share of the trials whose interval held the truth.
        error: its Monte-Carlo standard error.
        trials: how many there were.
        seconds: of the processor.
    """

    kind: str
    setting: str
    coverage: float
    error: float
    trials: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    parser.add_argument("--trials", type=int, default=2000, help="of each row, 2000 by default")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parts = (
        areas_of_one_target,
        one_target,
        balanced_accuracy,
        logarithmic,
        several_targets,
        shared_pool,
        paired_differences,
        paired_on_examples,
        slices,
        slices_over_targets,
        few_found,
        per_example,
        operating_points,
        exact,
        epsilon,
        trade_offs,
        one_run,
    )
    names = {part.__name__: part for part in parts}
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), help="parts to simulate")
    options = parser.parse_args()
    trials = options.trials // (10 if options.quick else 1)
    rows = []
    print("| kind | setting | coverage | se | trials |\n|---|---|--:|--:|--:|")
    for part in (names[name] for name in options.only):
        for row in part(trials):
            rows.append(row)
            print(f"| {row.kind} | {row.setting} | {row.coverage:.3f} | {row.error:.3f} | {row.trials} |", flush=True)
    print(f"\n{sum(row.seconds for row in rows):.0f} CPU seconds")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def areas_of_one_target(trials: int) -> Iterator[Row]:
    """One target's AUC in closed form, from a single non-member on; 1 in 30 members is a non-member, or 1 in 2."""
    sizes = (1, 30), (2, 60), (5, 150), (10, 300), (2, 2), (5, 5), (10, 10), (20, 20), (300, 300), (2000, 2000)
    for others, inside in sizes:
        members = np.arange(others + inside) < inside
        for gap in (0.0, 1.0, 2.0, 3.0):

            def trial(
                random: np.random.Generator, members: NDArray[np.bool_] = members, gap: float = gap
            ) -> dict[str, bool]:
                return {"AUC": covers(auc_interval(roc(drawn(random, members, gap), members)), ndtr(gap / np.sqrt(2)))}

            setting = f"{others} non-members, {inside} members, gap {gap:g}"
            yield from simulated("closed form, one target", setting, trials, trial)


def one_target(trials: int) -> Iterator[Row]:
    """One target's AUC by its examples, drawn again; its true-positive rates both so and by where members lie."""
    for others, gap in ((300, 0.0), (300, 1.0), (1000, 0.5), (1000, 2.0), (2000, 1.0), (2000, 2.0), (4000, 1.0)):
        members = np.arange(2 * others) < others
        names = [name for name in STATISTICS if others > 1000 or name != "TPR at 0.1 %"]
        truths = {name: float(STATISTICS[name][1](gap)) for name in names}

        def resampled(
            random: np.random.Generator,
            members: NDArray[np.bool_] = members,
            gap: float = gap,
            truths: Mapping[str, float] = truths,
        ) -> dict[str, bool]:
            scores, draws = drawn(random, members, gap), resample(members, RESAMPLES, int(random.integers(1 << 32)))
            found = bootstrap(scores, draws, {name: STATISTICS[name][0] for name in truths})
            return {name: covers(interval(found[name]), truths[name]) for name in truths}

        def placed(
            random: np.random.Generator,
            members: NDArray[np.bool_] = members,
            gap: float = gap,
            truths: Mapping[str, float] = truths,
        ) -> dict[str, bool]:
            curve, seed = roc(drawn(random, members, gap), members), int(random.integers(1 << 32))
            found = {name: redrawn_tpr(curve, RATES[name], RESAMPLES, seed) for name in truths if name in RATES}
            return {name: covers(interval(values), truths[name]) for name, values in found.items()}

        setting = f"{others} non-members, gap {gap:g}"
        yield from simulated("bootstrap, one target", setting, trials, resampled)
        yield from simulated("redrawn, one target", setting, trials, placed)


def balanced_accuracy(trials: int) -> Iterator[Row]:
    """One target's best balanced accuracy; picked on its examples, its truth is the mean over other sets of as many."""
    for others, gap in ((300, 0.0), (300, 1.0), (1000, 0.0), (1000, 1.0), (1000, 2.0)):
        members = np.arange(2 * others) < others
        sets = np.random.default_rng(1).spawn(4000)
        truth = float(np.mean([best_balanced_accuracy(roc(normal(others, gap, each), members)) for each in sets]))

        def trial(
            random: np.random.Generator,
            others: int = others,
            gap: float = gap,
            members: NDArray[np.bool_] = members,
            truth: float = truth,
        ) -> dict[str, bool]:
            found = audited(random, {"": normal(others, gap, random)[None]}, members)[""]["balanced_accuracy"]
            return {"balanced accuracy": covers(found.own_interval(0), truth)}

        yield from simulated("closed form, one target", f"{others} non-members, gap {gap:g}", trials, trial)


def logarithmic(trials: int) -> Iterator[Row]:
    """One target's log-AUROCs; their truth is the mean over other sets of as many examples, on which they depend."""
    sizes = (300, 1000, 4000)
    for others, gap in [(others, gap) for others in sizes for gap in (0.0, 1.0, 2.0, 4.0)]:
        truths = mean_log_aurocs(binormal(others, gap), others, others)
        yield from areas(trials, f"{others} non-members, gap {gap:g}", partial(normal, others, gap), truths)
    for others in sizes:
        draw = partial(few_exposed, others)
        truths = mean_log_aurocs(0.9 * binormal(others, 0.0) + 0.1 * binormal(others, 4.0), others, others)
        yield from areas(trials, f"{others} non-members, gap 4 for a tenth of members", draw, truths)
        draw = partial(laplace, others)
        truths = mean_log_aurocs(laplace_curve(others), others, others)
        yield from areas(trials, f"{others} non-members, Laplace, gap 1.5", draw, truths)


def areas(
    trials: int, setting: str, draw: Callable[[np.random.Generator], Floats], truths: Mapping[str, Floats]
) -> Iterator[Row]:
    """Rows of both log-AUROCs where ``draw`` gives scores, members first, half of them."""

    def trial(random: np.random.Generator) -> dict[str, bool]:
        scores = draw(random)
        curve = roc(scores, np.arange(scores.size) < scores.size // 2)
        found = redrawn_log_aurocs(curve, RESAMPLES, int(random.integers(1 << 32)))
        return {LOGARITHMIC[name]: covers(interval(values), float(truths[name])) for name, values in found.items()}

    yield from simulated("redrawn, one target", setting, trials, trial)


def normal(others: int, gap: float, random: np.random.Generator) -> Floats:
    """Scores of as many members as non-members."""
    return drawn(random, np.arange(2 * others) < others, gap)


def few_exposed(others: int, random: np.random.Generator) -> Floats:
    """A tenth of the members, at random, has a gap of 4; the others have none."""
    return np.concatenate([random.normal(size=others) + 4 * (random.random(others) < 0.1), random.normal(size=others)])


def laplace(others: int, random: np.random.Generator) -> Floats:
    """Tails that are straight in a logarithm: the curve begins like that of random guessing, times a factor."""
    return np.concatenate([random.laplace(size=others) + 1.5, random.laplace(size=others)])


def laplace_curve(others: int) -> Floats:
    """Its true curve."""
    rates = true_rates(others)
    with np.errstate(divide="ignore"):
        bound = np.where(rates < 0.5, -np.log(2 * rates), np.log(2 * (1 - np.minimum(rates, 1)) + 1e-300)) - 1.5
    return np.where(bound > 0, 0.5 * np.exp(-np.abs(bound)), 1 - 0.5 * np.exp(-np.abs(bound)))


def binormal(others: int, gap: Floats | float) -> Floats:
    """The true curve of normal scores, (..., rates)."""
    return np.asarray(1 - ndtr(ndtri(1 - true_rates(others)) - np.asarray(gap)[..., None]))


def several_targets(trials: int) -> Iterator[Row]:
    """The mean over targets whose gaps differ, as an audit reports it."""
    members = np.arange(400) < 200
    for targets in (2, 4, 10):
        for spread in (0.0, 0.1, 0.5):
            truths = expectations(200, spread)

            def trial(
                random: np.random.Generator,
                targets: int = targets,
                spread: float = spread,
                truths: Mapping[str, float] = truths,
            ) -> dict[str, bool]:
                gaps = 1 + spread * random.normal(size=targets)
                scores = np.stack([drawn(random, members, gap) for gap in gaps])
                found = audited(random, {"": scores}, members)[""]
                return {REPORTED[n]: covers(ends(over(one)), truths[n]) for n, one in found.items() if n in truths}

            yield from simulated("over targets", f"{targets} targets, gaps 1 ± {spread:g}", trials, trial)


def shared_pool(trials: int) -> Iterator[Row]:
    """Targets that share their pool: some examples are easier to recognise than others, for all targets alike."""
    for pools, what in ((False, "of this pool"), (True, "of other pools")):

        def trial(random: np.random.Generator, pools: bool = pools) -> dict[str, bool]:
            fragile = random.gamma(1.0, 1.0, 400)  # (examples,) how much training on each moves its score
            members = np.stack([random.permutation(400) < 200 for _ in range(4)])
            scores = random.normal(size=(4, 400)) + fragile * members
            found = audited(random, {"": scores}, members)[""]["auc"]
            return {"AUC": covers(ends(over(found)), pool_truth(None if pools else fragile))}

        yield from simulated("over targets", f"4 targets of one pool, truth {what}", trials, trial)


def paired_differences(trials: int) -> Iterator[Row]:
    """The difference of two precisions on the same targets, whose scores go together."""
    members = np.arange(400) < 200
    for targets in (2, 4, 10):
        for spread in (0.0, 0.3):

            def trial(random: np.random.Generator, targets: int = targets, spread: float = spread) -> dict[str, bool]:
                gaps = 1 + spread * random.normal(size=(2, targets))  # (precisions, targets)
                common = random.normal(size=(targets, 400))
                scores = 0.8 * common + 0.6 * random.normal(size=(2, targets, 400)) + gaps[..., None] * members
                found = audited(random, {"full": scores[0], "quantized": scores[1]}, members)
                changes = {name: found["quantized"][name] - found["full"][name] for name in REPORTED}
                return {REPORTED[name]: covers(ends(changed(change)), 0.0) for name, change in changes.items()}

            yield from simulated("paired difference", f"{targets} targets, gaps 1 ± {spread:g}", trials, trial)


def paired_on_examples(trials: int) -> Iterator[Row]:
    """The difference of two precisions of one target; a bound of 1 % of 200 non-members leaves one false positive."""
    settings = [(200, 0.8, (1.0, 1.0)), (200, 0.0, (1.0, 1.0)), (200, 0.95, (1.0, 1.0)), (200, 0.8, (2.0, 1.0))]
    for others, shared, gaps in [*settings, (200, 0.8, (2.0, 2.0)), (1000, 0.8, (1.0, 1.0)), (1000, 0.8, (2.0, 1.5))]:
        members = np.arange(2 * others) < others
        names = "auc", "balanced_accuracy", "tpr_at_0.05", "tpr_at_0.01"
        truths = {
            name: float(np.subtract(*(STATISTICS[REPORTED[name]][1](gap) for gap in gaps[::-1])))
            for name in names
            if REPORTED[name] in STATISTICS
        }
        if gaps[0] == gaps[1]:
            truths["balanced_accuracy"] = 0.0

        def trial(
            random: np.random.Generator,
            members: NDArray[np.bool_] = members,
            shared: float = shared,
            gaps: tuple[float, float] = gaps,
            truths: Mapping[str, float] = truths,
        ) -> dict[str, bool]:
            common, own = random.normal(size=members.size), random.normal(size=(2, members.size))
            scores = shared * common + np.sqrt(1 - shared**2) * own + np.array(gaps)[:, None] * members
            found = audited(random, {"full": scores[:1], "quantized": scores[1:]}, members, RESAMPLES)
            changes = {name: found["quantized"][name] - found["full"][name] for name in truths}
            return {REPORTED[name]: covers(one.own_interval(0), truths[name]) for name, one in changes.items()}

        setting = f"one target, {others} non-members, gaps {gaps[0]:g} and {gaps[1]:g}, correlation {shared:g}"
        yield from simulated("paired difference", setting, trials, trial)


def slices(trials: int) -> Iterator[Row]:
    """Rates of a few members before all non-members, and before as many of their own.

    At one gap a rate of few members steps over the promised coverage; drawn anew in each trial, gaps give its mean.
    The truth of a best balanced accuracy, as above, is its mean over other sets of as many examples.
    """
    for inside, others in ((20, 700), (90, 700), (90, 5000), (500, 5000)):
        for gaps in (*FIXED, ANY):
            members = np.arange(inside + others) < inside
            part = members | (np.arange(inside + others) < 2 * inside)
            bounds = [bound for bound in (0.05, 0.01, 0.001) if bound * others > 1.5]
            sets = np.random.default_rng(1).spawn(2000 if gaps in FIXED else 0)
            best = [best_balanced_accuracy(roc(drawn(each, members, gaps[0]), members)) for each in sets]

            def trial(
                random: np.random.Generator,
                gaps: tuple[float, float] = gaps,
                members: NDArray[np.bool_] = members,
                part: NDArray[np.bool_] = part,
                bounds: list[float] = bounds,
                accuracy: float | None = float(np.mean(best)) if best else None,
            ) -> dict[str, bool]:
                gap = random.uniform(*gaps)
                scores = drawn(random, members, gap)
                truths = {bound: float(1 - ndtr(ndtri(1 - bound) - gap)) for bound in bounds}
                curve = roc(scores, members)
                found = {f"TPR at {100 * b:g} %": covers(rate_interval(curve, b), truths[b]) for b in bounds}
                if accuracy is not None:
                    found["balanced accuracy"] = covers(balanced_accuracy_interval(curve), accuracy)
                if 0.05 * members.sum() > 1.5:  # else the bound leaves its own non-members no false positive
                    own = rate_interval(roc(scores[part], members[part]), 0.05)
                    found["TPR at 5 %, own non-members"] = covers(own, truths[0.05])
                return found

            yield from simulated("slice, one target", f"{inside} of {others} non-members, {said(gaps)}", trials, trial)


def slices_over_targets(trials: int) -> Iterator[Row]:
    """The mean over targets of a slice's metrics, and the change of another precision, as an audit reports them."""
    inside, others = 25, 600
    members = np.arange(inside + others) < inside
    part = np.arange(inside + others) < 2 * inside
    for targets in (2, 4, 10):
        for gaps in ((1.0, 1.0), (4.0, 4.0), ANY):

            def trial(
                random: np.random.Generator, targets: int = targets, gaps: tuple[float, float] = gaps
            ) -> dict[str, bool]:
                gap = random.uniform(*gaps)
                common, own = (
                    random.normal(size=(targets, members.size)),
                    random.normal(size=(2, targets, members.size)),
                )
                scores = 0.8 * common + 0.6 * own + gap * members
                found = audited(random, {"full": scores[0], "quantized": scores[1]}, members, 2, {"slice": part})
                covered = {}
                for name in ("auc", "tpr_at_0.05", "tpr_at_0.01"):
                    key = Measure(name, "slice")
                    mean, change = over(found["full"][key]), changed(found["quantized"][key] - found["full"][key])
                    covered[REPORTED[name]] = covers(ends(mean), float(STATISTICS[REPORTED[name]][1](gap)))
                    covered[f"change of {REPORTED[name]}"] = covers(ends(change), 0.0)
                return covered

            setting = f"{targets} targets, {inside} of {others}, {said(gaps)}"
            yield from simulated("slice, over targets", setting, trials, trial)


def said(gaps: tuple[float, float]) -> str:
    """One gap, or those between which it is drawn."""
    return f"gap {gaps[0]:g}" if gaps[0] == gaps[1] else f"gaps {gaps[0]:g} to {gaps[1]:g}"


def few_found(_: int) -> Iterator[Row]:
    """Wilson's interval of a binomial rate, without doubt of its threshold: exact, and the mean over 300 rates."""
    for members in (20, 90):
        counts = np.arange(members + 1)
        low, high = np.array([wilson(count / members, members) for count in counts]).T
        for least, most in ((0.05, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 5.0)):
            rates = np.linspace(least, most, 300)[:, None] / members  # (rates, 1)
            share = (binom.pmf(counts, members, rates) * ((low <= rates) & (rates <= high))).sum(1).mean()
            setting = f"{least:g} to {most:g} of {members} members expected to be found"
            yield Row("Wilson, mean over rates", setting, float(share), 0.0, len(rates), 0.0)


def per_example(trials: int) -> Iterator[Row]:
    """Mean over targets of rates at thresholds of each example's own, for these shadows and for others."""
    bound, gap = 0.05, 2.0
    for shadows in (8, 32):
        outside = shadows // 2
        inside = np.arange(shadows)[:, None] < np.full(400, outside)

        def thresholds(scores: Floats, outside: int = outside) -> Floats:
            spread = scores[outside:].std(axis=0, ddof=1) * np.sqrt(1 + 1 / outside)
            return np.asarray(scores[outside:].mean(axis=0) + stdtrit(outside - 1, 1 - bound) * spread)

        def rates(limits: Floats) -> tuple[float, float]:
            return float((1 - ndtr(limits - gap)).mean()), float((1 - ndtr(limits)).mean())

        elsewhere = rates(thresholds(np.random.default_rng(1).normal(size=(shadows, 200_000))))

        def trial(
            random: np.random.Generator,
            inside: NDArray[np.bool_] = inside,
            thresholds: Callable[[Floats], Floats] = thresholds,
            elsewhere: tuple[float, float] = elsewhere,
        ) -> dict[str, bool]:
            members = random.random((4, 400)) < 0.5
            scores, attacked = (random.normal(size=each.shape) + gap * each for each in (inside, members))
            (found,) = per_example_rates(scores, inside, attacked, members, [bound])
            here = rates(thresholds(scores))
            return {
                f"{name} at 5 %, {whose} shadows": covers(ends(mean_over_targets(values)), truth)
                for whose, truths in (("these", here), ("other", elsewhere))
                for name, values, truth in zip(("TPR", "FPR"), (found.tpr, found.fpr), truths, strict=True)
            }

        yield from simulated("per example, over targets", f"4 targets, {shadows} shadows, gap 2", trials, trial)


def operating_points(trials: int) -> Iterator[Row]:
    """Rates and predictive values of other targets at a fixed threshold; all scores of a target move together."""
    threshold, gap, prior, members = float(ndtri(0.99)), 2.0, 0.1, np.arange(2000) < 1000
    for targets in (1, 4, 10):
        for shift in (0.0,) if targets == 1 else (0.0, 0.2, 0.5):
            fpr, tpr = (float(1 - ndtr((threshold - by) / np.sqrt(1 + shift**2))) for by in (0.0, gap))

            def trial(
                random: np.random.Generator,
                targets: int = targets,
                shift: float = shift,
                fpr: float = fpr,
                tpr: float = tpr,
            ) -> dict[str, bool]:
                scores = [drawn(random, members, gap) + shift * random.normal() for _ in range(targets)]
                points = tuple(operating_point_at(each, members, threshold) for each in scores)
                found = OperatingPoint(threshold, 0.01, points)
                return {
                    "false-positive rate": covers(found.fpr_interval(), fpr),
                    "true-positive rate": covers(found.tpr_interval(), tpr),
                    "predictive value": covers(found.precision_interval(prior), predictive_value(tpr, fpr, prior)),
                }

            yield from simulated("operating point", f"{targets} targets, shift 0 ± {shift:g}", trials, trial)


def exact(trials: int) -> Iterator[Row]:
    """Clopper-Pearson, at thresholds fixed beforehand; conservative by construction."""
    for rate, count in ((0.001, 1000), (0.01, 1000), (0.3, 200)):

        def trial(random: np.random.Generator, rate: float = rate, count: int = count) -> dict[str, bool]:
            return {"": covers(clopper_pearson(int(random.binomial(count, rate)), count), rate)}

        yield from simulated("Clopper-Pearson", f"rate {rate:g} of {count}", 5 * trials, trial)


def epsilon(trials: int) -> Iterator[Row]:
    """Lower bounds on the epsilon of randomised response, which is known; one-sided and conservative."""
    truth = 1.5
    members = np.arange(2000) < 1000
    rules: Mapping[str, Callable[[int], ThresholdChoice]] = {
        "fixed threshold": lambda _: Fixed(0.5),
        "split": Split,
        "Bonferroni": lambda _: Bonferroni(),
    }

    def trial(random: np.random.Generator) -> dict[str, bool]:
        truthful = random.random(2000) < np.exp(truth) / (1 + np.exp(truth))
        scores = (members == truthful) + 0.0
        seed = int(random.integers(1 << 32))
        return {n: epsilon_lower_bound(scores, members, rule(seed)) <= truth for n, rule in rules.items()}

    yield from simulated("epsilon", "randomised response, ε = 1.5", trials, trial)

    def noise(random: np.random.Generator) -> dict[str, bool]:
        scores = random.normal(size=2000)
        rules = {"split": Split(int(random.integers(1 << 32))), "Bonferroni": Bonferroni()}
        return {name: epsilon_lower_bound(scores, members, rule) <= 0 for name, rule in rules.items()}

    yield from simulated("epsilon", "noise, ε = 0", trials, noise)


def trade_offs(trials: int) -> Iterator[Row]:
    """Bounds on mu and on the whole curve, of Gaussian scores whose trade-off function is known; one-sided."""
    members = np.arange(2000) < 1000
    for mu in (0.0, 1.0, 2.0):
        rules: Mapping[str, Callable[[int], ThresholdChoice]] = {"split": Split, "Bonferroni": lambda _: Bonferroni()}

        def trial(
            random: np.random.Generator,
            mu: float = mu,
            rules: Mapping[str, Callable[[int], ThresholdChoice]] = rules,
        ) -> dict[str, bool]:
            scores, seed = drawn(random, members, mu), int(random.integers(1 << 32))
            found = {}
            for name, rule in rules.items():
                curve = trade_off(scores, members, rule(seed))
                true = ndtr(ndtri(1 - curve.alpha) - mu)
                found |= {f"mu, {name}": curve.mu <= mu, f"curve, {name}": bool((curve.beta >= true - 1e-12).all())}
            return found

        yield from simulated("trade-off", f"Gaussian, mu = {mu:g}", trials, trial)


def one_run(trials: int) -> Iterator[Row]:
    """The bound on epsilon from one run, of randomised response; members independent, or exactly half."""
    for truth in (0.0, 1.5):
        for half in (False, True):

            def trial(random: np.random.Generator, truth: float = truth, half: bool = half) -> dict[str, bool]:
                members = random.permutation(1000) < 500 if half else random.random(1000) < 0.5
                truthful = random.random(1000) < np.exp(truth) / (1 + np.exp(truth))
                scores = (members == truthful) + 0.0
                return {"": one_run_epsilon(scores, members) <= truth}

            masks = "half of the pool" if half else "independent"
            yield from simulated("epsilon, one run", f"randomised response, ε = {truth:g}, {masks}", trials, trial)


def simulated(
    kind: str, setting: str, trials: int, trial: Callable[[np.random.Generator], Mapping[str, bool]]
) -> Iterator[Row]:
    """Run the trials; a row for each name that they return."""
    start = time.process_time()
    counts: dict[str, int] = {}
    for random in np.random.default_rng(0).spawn(trials):
        for name, covered in trial(random).items():
            counts[name] = counts.get(name, 0) + covered
    seconds = (time.process_time() - start) / len(counts)
    for name, count in counts.items():
        share = count / trials
        error = float(np.sqrt(max(share * (1 - share), 1 / trials) / trials))
        yield Row(kind, f"{name}, {setting}".removeprefix(", "), share, error, trials, seconds)


def audited(
    random: np.random.Generator,
    scores: Mapping[str, NDArray[np.float64]],
    members: NDArray[np.bool_],
    curves: int = RESAMPLES // 3,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Mapping[str, Mapping[Measure | str, PerTarget]]:
    """What an audit measures on (targets, examples) scores of each name; members (targets, examples) or (examples,).

    What it measures on all members is also found by the metric's name.
    """
    shape = next(iter(scores.values())).shape
    targets = Observed(np.zeros((*shape, 1)), np.broadcast_to(members, shape))
    case = Case("", "", FULL_PRECISION, "unaware", np.arange(shape[0]), targets, targets, None, ())
    found = measure(case, scores, [0.05, 0.01], curves, int(random.integers(1 << 32)), slices)
    return {
        name: {**{key.metric: one for key, one in each.items() if key == Measure(key.metric)}, **each}
        for name, each in found.items()
    }


def over(measured: PerTarget) -> Estimate:
    """The mean over targets."""
    return mean_over_targets(measured.estimates, measured.noise)


def changed(measured: PerTarget) -> Estimate:
    """The same of a difference."""
    return difference_over_targets(measured.estimates, measured.noise)


def drawn(random: np.random.Generator, members: NDArray[np.bool_], gap: float) -> Floats:
    """Scores of one target."""
    return np.asarray(random.normal(size=members.size) + gap * members)


def expectations(others: int, spread: float) -> dict[str, float]:
    """Means over gaps 1 ± spread of what an audit reports, by its name."""
    gaps = 1 + spread * POINTS
    areas = mean_log_aurocs(binormal(others, gaps), others, others)
    values = {name: STATISTICS[what][1](gaps) for name, what in REPORTED.items() if what in STATISTICS}
    return {name: float(WEIGHTS @ np.asarray(each) / WEIGHTS.sum()) for name, each in {**values, **areas}.items()}


def pool_truth(fragile: Floats | None) -> float:
    """Expected AUC of a pool whose training moves examples so; of all pools where none is given."""
    if fragile is None:
        points, weights = np.polynomial.laguerre.laggauss(60)
        return float(weights @ ndtr(points / np.sqrt(2)))
    return float(ndtr(fragile / np.sqrt(2)).mean())


def ends(estimate: Estimate) -> tuple[float, float]:
    """The interval."""
    return estimate.low, estimate.high


def covers(found: tuple[float, float], truth: float) -> bool:
    """Whether it holds the truth; a step of rounding does not count."""
    return found[0] - 1e-12 <= truth <= found[1] + 1e-12


if __name__ == "__main__":
    main()
