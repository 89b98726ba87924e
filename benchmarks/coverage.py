"""How often 95 % intervals cover the truth, on simulated scores whose truth is known.

python benchmarks/coverage.py [--quick] [--json FILE]

Members score N(gap, 1), non-members N(0, 1); where targets differ, so do their gaps. "se" is the Monte-Carlo standard
error of the coverage. Bounds that hold by construction cover at least 95 %; what they cover beyond it is their price.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lit_privq.metrics import (
    Bonferroni,
    Estimate,
    Fixed,
    Split,
    auc,
    bootstrap,
    clopper_pearson,
    epsilon_lower_bound,
    interval,
    log_auroc,
    over_targets,
    redrawn,
    redrawn_tpr,
    resample,
    roc,
    semilog_auroc,
    tpr_at_fpr,
)
from lit_privq.metrics.epsilon import Threshold
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
LOGARITHMIC: Mapping[str, Statistic] = {"log-AUROC, loglog": log_auroc, "log-AUROC, semilog": semilog_auroc}


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
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    trials = 200 if options.quick else 2000
    rows = []
    print("| kind | setting | coverage | se | trials |\n|---|---|--:|--:|--:|")
    for part in (one_target, logarithmic, several_targets, shared_pool, paired_differences, exact, epsilon):
        for row in part(trials):
            rows.append(row)
            print(f"| {row.kind} | {row.setting} | {row.coverage:.3f} | {row.error:.3f} | {row.trials} |", flush=True)
    print(f"\n{sum(row.seconds for row in rows):.0f} CPU seconds")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


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


def logarithmic(trials: int) -> Iterator[Row]:
    """One target's log-AUROCs; their truth is the mean over other sets of as many examples, on which they depend."""
    for others, gap in ((300, 0.0), (300, 1.0), (1000, 0.5), (1000, 2.0), (4000, 1.0)):
        members = np.arange(2 * others) < others
        truths = expected(members, gap)

        def trial(
            random: np.random.Generator,
            members: NDArray[np.bool_] = members,
            gap: float = gap,
            truths: Mapping[str, float] = truths,
        ) -> dict[str, bool]:
            curves = redrawn(roc(drawn(random, members, gap), members), RESAMPLES, int(random.integers(1 << 32)))
            return {name: covers(interval(metric(curves)), truths[name]) for name, metric in LOGARITHMIC.items()}

        yield from simulated("redrawn, one target", f"{others} non-members, gap {gap:g}", trials, trial)


def several_targets(trials: int) -> Iterator[Row]:
    """The mean over targets whose gaps differ, by the targets' spread."""
    members = np.arange(400) < 200
    for targets in (2, 3, 4, 10):
        for spread in (0.0, 0.1, 0.5):

            def trial(random: np.random.Generator, targets: int = targets, spread: float = spread) -> dict[str, bool]:
                gaps = 1 + spread * random.normal(size=targets)
                scores = [drawn(random, members, gap) for gap in gaps]
                found = over(random, scores, [members] * targets)
                return {n: covers(ends(e), expectation(STATISTICS[n][1], spread)) for n, e in found.items()}

            yield from simulated("over targets", f"{targets} targets, gaps 1 ± {spread:g}", trials, trial)


def shared_pool(trials: int) -> Iterator[Row]:
    """Targets that share their pool: some examples are easier to recognise than others, for all targets alike."""
    for pools, what in ((False, "of this pool"), (True, "of other pools")):

        def trial(random: np.random.Generator, pools: bool = pools) -> dict[str, bool]:
            fragile = random.gamma(1.0, 1.0, 400)  # (examples,) how much training on each moves its score
            members = [random.permutation(400) < 200 for _ in range(4)]
            scores = [random.normal(size=400) + fragile * inside for inside in members]
            found = over(random, scores, members, ("AUC",))
            return {name: covers(ends(e), pool_truth(None if pools else fragile)) for name, e in found.items()}

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
                found = over(random, list(scores[0]), [members] * targets, minus=list(scores[1]))
                return {name: covers(ends(estimate), 0.0) for name, estimate in found.items()}

            yield from simulated("paired difference", f"{targets} targets, gaps 1 ± {spread:g}", trials, trial)


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
    rules: Mapping[str, Callable[[int], Threshold]] = {
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


def over(
    random: np.random.Generator,
    scores: Sequence[Floats],
    members: Sequence[NDArray[np.bool_]],
    names: tuple[str, ...] = ("AUC", "TPR at 5 %"),
    minus: Sequence[Floats] | None = None,
) -> dict[str, Estimate]:
    """Estimates over targets, of differences where there is something to take off."""
    statistics = {name: STATISTICS[name][0] for name in names}
    values: dict[str, list[Floats]] = {name: [] for name in names}
    replicates: dict[str, list[Floats]] = {name: [] for name in names}
    for place, (row, inside) in enumerate(zip(scores, members, strict=True)):
        draws = resample(inside, RESAMPLES // 3, int(random.integers(1 << 32)))
        for sign, each in ((1, row), (-1, None if minus is None else minus[place])):
            if each is None:
                continue
            curve, found = roc(each, inside), bootstrap(each, draws, statistics)
            for name, statistic in statistics.items():
                if sign > 0:
                    values[name].append(statistic(curve))
                    replicates[name].append(found[name])
                else:
                    values[name][-1] = values[name][-1] - statistic(curve)
                    replicates[name][-1] = replicates[name][-1] - found[name]
    return {name: over_targets(np.array(values[name]), np.stack(replicates[name])) for name in names}


def drawn(random: np.random.Generator, members: NDArray[np.bool_], gap: float) -> Floats:
    """Scores of one target."""
    return np.asarray(random.normal(size=members.size) + gap * members)


def expected(members: NDArray[np.bool_], gap: float, draws: int = 4000) -> dict[str, float]:
    """Mean log-AUROCs of so many examples."""
    random = np.random.default_rng(1)
    curves = [roc(drawn(random, members, gap), members) for _ in range(draws)]
    return {name: float(np.mean([statistic(curve) for curve in curves])) for name, statistic in LOGARITHMIC.items()}


def expectation(truth: Truth, spread: float) -> float:
    """Mean over gaps 1 ± spread."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    return float(weights @ truth(1 + spread * points) / weights.sum())


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
