"""Figures of an earlier prototype of the indicator, beside those of the stored runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.indicator.finite import chernoff_rate
from lit_privq.indicator.gaps import indicator, loss_gaps
from lit_privq.indicator.problems import FiniteTruth
from lit_privq.indicator.reach import DRIFTING
from lit_privq.indicator.runs import StoredRuns, read_runs
from lit_privq.indicator.stability import rank_stability, spearman

Array = NDArray[np.float64]

SIZES = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of runs at which rank stability is measured."""


@dataclass(frozen=True)
class ComparedClaim:
    """A figure of the prototype and ours.

    Args:
        claim: what is measured.
        prototype: its figure, as text; empty where it gave none.
        ours: our figure, as text.
        values: our figures, as numbers.
    """

    claim: str
    prototype: str
    ours: str
    values: tuple[float, ...]


def read_folders(folders: Sequence[Path]) -> tuple[list[StoredRuns], FiniteTruth | None]:
    """All stored experiments below some study folders, and the finite problems if one of them has them.

    Raises:
        FileNotFoundError: if a folder holds neither.
    """
    runs, truth = [], None
    for folder in folders:
        paths, finite = sorted(folder.glob("runs/*.npz")), sorted(folder.glob("finite-*.npz"))
        if not paths and not finite:
            raise FileNotFoundError(f"{folder} holds no stored runs; run the study first")
        runs += [read_runs(path, StoredRuns) for path in paths]
        truth = FiniteTruth.read(finite[0]) if finite else truth
    return runs, truth


def grouped(runs: Sequence[StoredRuns]) -> dict[str, list[StoredRuns]]:
    """Experiments by their name without the seed."""
    groups: dict[str, list[StoredRuns]] = {}
    for one in runs:
        groups.setdefault(one.name.rpartition("-")[0], []).append(one)
    return groups


def mean_spearman(measure: Array, truth: Array) -> float:
    """Mean over problems of the rank correlation over quantizers, both (problems, quantizers)."""
    return float(np.nanmean([spearman(one, other) for one, other in zip(measure, truth, strict=True)]))


def claims(runs: Sequence[StoredRuns], truth: FiniteTruth | None) -> list[ComparedClaim]:
    """Every figure of the prototype's table that these runs measure anew."""
    return [*_gaussian(), *(_finite(truth) if truth else ()), *_heads(runs), *_stability(runs), *_sparsest(runs)]


def write_claims(runs: Sequence[StoredRuns], truth: FiniteTruth | None, output: Path) -> None:
    """Write ``claims.json``, and ``mis.md`` with the table of claims and one table per experiment."""
    output.mkdir(parents=True, exist_ok=True)
    found = claims(runs, truth)
    (output / "claims.json").write_text(json.dumps([asdict(claim) for claim in found], indent=1) + "\n")
    lines = ["| claim | prototype | here |", "|---|---|---|"]
    lines += [f"| {claim.claim} | {claim.prototype or '-'} | {claim.ours} |" for claim in found]
    sections = [_made_at(runs), "\n".join(lines), *(_experiment(one) for one in runs)]
    (output / "mis.md").write_text("# The indicator: measured\n\n" + "\n\n".join(sections) + "\n")


def _made_at(runs: Sequence[StoredRuns]) -> str:
    """Commits of the runs, as they recorded them."""
    counts = Counter(str(one.meta.get("commit") or "not recorded") for one in runs)
    return (
        "Commit of the runs: " + ", ".join(f"{name} ({count} of {len(runs)})" for name, count in counts.items()) + "."
    )


def _gaussian() -> Iterator[ComparedClaim]:
    standard = np.linspace(-9, 9, 20_001)
    density = np.exp(-(standard**2) / 2)
    gap, probability = 0.3 + 0.8 * standard, density / density.sum()
    r = float(indicator(loss_gaps(np.stack([np.zeros_like(gap), gap]), probability)))
    exact = chernoff_rate(gap, probability)
    yield ComparedClaim(
        "Gaussian gap, K = 2 (ours: mean 0.3, deviation 0.8): r = Chernoff rate",
        "0.07022 = 0.07022",
        f"{r:.5f} = {exact:.5f}",
        (r, exact),
    )


def _finite(truth: FiniteTruth) -> Iterator[ComparedClaim]:
    away = np.abs(truth.indicated / truth.exact - 1)
    shown = ", ".join(f"{value:.1%}" for value in away)
    yield ComparedClaim("r against the exact rate, ternary problems (d = 3, K = 27)", "within 5 %", shown, tuple(away))
    size = f"n = {truth.n} ({len(truth.quantizers)} quantizers, {len(truth.r)} problems)"
    measured = (
        ("r / r_lse against brute force, empirical risk minimisation", "0.90 / 0.97", truth.risk, ("r", "r_lse")),
        (
            "r / r_lse / flip margin against brute force, rounding after training",
            "0.69 / 0.83 / 0.95",
            truth.rounding,
            ("r", "r_lse", "margin"),
        ),
        (
            "r over the codewords that 50 trainings round to, rounding after training",
            "",
            truth.rounding,
            ("r_reached",),
        ),
    )
    for name, prototype, advantage, measures in measured:
        values = tuple(mean_spearman(getattr(truth, measure), -advantage) for measure in measures)
        pooled = tuple(spearman(getattr(truth, measure).ravel(), -advantage.ravel()) for measure in measures)
        shown = f"{_joined(values)} (all problems in one ranking: {_joined(pooled)})"
        yield ComparedClaim(f"Spearman of {name}, {size}", prototype, shown, values)
    slack = (1 - truth.risk) - truth.bernstein
    yield ComparedClaim(
        "Bernstein bound below brute-force MIS: least slack",
        "",
        f"{slack.min():.1e}; the bound says something (> 0) for {(truth.bernstein > 0).mean():.0%}",
        (float(slack.min()),),
    )


def _listed(names: Sequence[str], known: Sequence[str]) -> str:
    return "all" if len(names) == len(known) else ", ".join(names)


def _joined(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _heads(runs: Sequence[StoredRuns]) -> Iterator[ComparedClaim]:
    told = {"linear": "0.98, 0.83, 0.91", "deep": "no correlation: warn"}
    for group, members in grouped(runs).items():
        head = members[0].meta["head"]
        prototype = told[head] if members[0].synthetic else ""
        fitted = np.mean([one.train_score.mean() for one in members])
        drifts = sum(DRIFTING in one.cautions() for one in members)
        state = f"fitted to {fitted:.1%}" + (f", drift warned of in {drifts} of {len(members)}" if drifts else "")
        values = {
            measure: [one.agreement_with_lira()[measure] for one in members]
            for measure in ("r", "r_lse", "code agreement")
        }
        shown = (f"{measure} " + ", ".join(f"{v:.2f}" for v in found) for measure, found in values.items())
        yield ComparedClaim(
            f"{group} ({head}, members {state}): Spearman with 1 - LiRA advantage",
            prototype and f"r {prototype}",
            "; ".join(shown),
            tuple(values["r"]),
        )


def _stability(runs: Sequence[StoredRuns]) -> Iterator[ComparedClaim]:
    for group, members in grouped(runs).items():
        if not members[0].synthetic:
            continue
        sizes = [size for size in (1, 10, 50) if size <= members[0].r.shape[1]]
        values = np.mean([rank_stability(one.r, sizes).spearman.mean(axis=1) for one in members], axis=0)
        yield ComparedClaim(
            f"{group}: rank stability, Spearman to the ranking of all {members[0].r.shape[1]} runs at "
            + " / ".join(map(str, sizes)),
            "0.5-0.6 / 0.9 / 0.95-0.99",
            _joined(values),
            tuple(values),
        )


def _sparsest(runs: Sequence[StoredRuns]) -> Iterator[ComparedClaim]:
    told = {"R2": "4-16 %", "AUROC": "58-71 %"}
    for metric, head in product(told, ("linear", "deep")):
        chosen = [one for one in runs if not one.synthetic and (one.meta["metric"], one.meta["head"]) == (metric, head)]
        if chosen:
            values = np.array([one.kept_performance[one.quantizers.index("ternary-90")] for one in chosen])
            yield ComparedClaim(
                f"molecules, {head} heads: ternary at 90 % sparsity keeps of {metric} ({len(chosen)} experiments)",
                told[metric],
                f"{values.min():.0%} to {values.max():.0%}, median {np.median(values):.0%}",
                tuple(values),
            )
    seconds = [one.meta["cpu_seconds"] for one in runs if not one.synthetic]
    if seconds:
        total = sum(seconds)
        shown = f"{total / 60:.1f} CPU-minutes, features in the cache"
        yield ComparedClaim(f"molecules: all {len(seconds)} experiments", "minutes on two cores", shown, (total,))


def _experiment(one: StoredRuns) -> str:
    """A table of one experiment, a quantizer a row."""
    runs, metric = one.r.shape[1], one.meta["metric"]
    lines = [
        f"## {one.name}",
        f"{runs} runs of n = {one.n} members, {one.meta['head']} head of {one.meta['weights']} weights, "
        f"{one.gap_mean.shape[2]} snapshots, members fitted to {one.train_score.mean():.1%}, "
        f"{one.meta['cpu_seconds']:.0f} CPU-seconds. Medians over runs, quartiles in brackets.",
        "",
        f"| quantizer | r | n r | r_lse | agreement | C | censored | LiRA advantage | {metric} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, name in enumerate(one.quantizers):
        low, middle, high = one.r_quartiles[:, row]
        lines.append(
            f"| {name} | {middle:.2g} [{low:.2g}, {high:.2g}] | {middle * one.n:.2g} | {np.median(one.r_lse[row]):.2g} "
            f"| {one.agreement[row]:.2f} | {np.median(one.distinct[row]):.0f} | {one.censored[row]:.0%} "
            f"| {one.advantage[row]:.3f} | {one.performance[row].mean():.3f} |"
        )
    lines += ["", *(f"- {reason} ({_listed(names, one.quantizers)})" for reason, names in one.cautions().items())]
    correlations = ", ".join(f"{name} {value:.2f}" for name, value in one.agreement_with_lira().items())
    lines += ["", f"Spearman with 1 - LiRA advantage: {correlations}"]
    return "\n".join(lines)
