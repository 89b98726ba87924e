"""What an audit costs, every model a target: against a plain loop from the formulas and the public reference.

python benchmarks/audit.py [--quick] [--json FILE] [--reference DIR]

DIR is ``research/mi_lira_2021`` of a tensorflow/privacy checkout; only the functions that compute scores are taken from
its ``plot.py``. CPU seconds of one process, best of several runs; both sides run here.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from lit_privq.attacks import (
    LiRAJoint,
    Observed,
    Shrunk,
    logit_confidence,
    population_share,
    proxies,
    reference,
    score_leave_one_out,
    standard,
)
from lit_privq.audit.command import main as main_of_audit
from lit_privq.metrics import (
    Bonferroni,
    auc,
    auc_influence,
    auc_interval,
    bootstrap,
    one_run_epsilon,
    per_example_rates,
    ranked,
    redrawn_log_aurocs,
    resample,
    roc,
    tpr_at_fpr,
    trade_off,
)

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the examples, under a minute")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--reference", type=Path, help="research/mi_lira_2021 of a tensorflow/privacy checkout")
    options = parser.parse_args()
    rows = []
    print(f"{'case':58} {'ours':>9} {'other':>9} {'unit':>8} {'ratio':>8} {'spread':>7}")
    for row in cases(10 if options.quick else 1, options.reference):
        rows.append(row)
        other, ratio = (f"{row[key]:.3g}" if row[key] is not None else "-" for key in ("other", "ratio"))
        print(
            f"{row['case']:58} {row['ours']:9.3g} {other:>9} {row['unit']:>8} {ratio:>8} {row['spread']:7.2g}",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


def cases(shrink: int, public: Path | None) -> Iterator[Row]:
    examples = 50_000 // shrink
    for queries in (2, 18):
        yield from lira(examples, queries, public)
    random = np.random.default_rng(0)
    x, z = random.normal(size=20_000 // shrink), random.normal(size=5_000 // shrink)
    yield row(
        f"RMIA, {x.size} x {z.size}",
        timed(lambda: population_share(x, z)),
        timed(lambda: np.stack([(part[:, None] > z).mean(1) for part in np.array_split(x, 20)])),
    )
    members = np.arange(examples) % 2 == 0
    scores = random.normal(size=examples) + 0.5 * members
    few = 20
    slow = timed(lambda: resample_one_by_one(scores, members, few), 2)
    yield row(
        f"1000 resamples of a ROC of {examples}: AUC, TPR (draws included)",
        timed(lambda: bootstrap(scores, resample(members), {"auc": auc, "tpr": lambda c: tpr_at_fpr(c, 0.001)})),
        [seconds * 1000 / few for seconds in slow],
    )
    yield row(
        f"1000 redrawn log-AUROCs of a ROC of {examples}",
        timed(lambda: redrawn_log_aurocs(roc(scores, members))),
        None,
    )
    seen = ranked(scores, members)
    yield row(
        f"AUC of {examples}: interval and influences in closed form, against 1000 resamples",
        timed(lambda: (auc_interval(seen.curve), auc_influence(seen))),
        timed(lambda: bootstrap(scores, resample(members), {"auc": auc})),
    )
    yield row(
        f"bounds on the trade-off curve of {examples}, and of one run",
        timed(lambda: (trade_off(scores, members, Bonferroni()), one_run_epsilon(scores, members))),
        None,
    )
    yield from attackers(examples)
    yield from whole(examples)
    logits = random.normal(size=(examples, 18, 100)).astype(np.float32)
    labels = random.integers(100, size=examples)
    yield row(
        f"logits -> confidence, {examples} x 18 x 100 float32",
        timed(lambda: logit_confidence(logits, labels)),
        timed(lambda: plain_confidence(logits, labels), 1),
    )


def attackers(examples: int) -> Iterator[Row]:
    """Attacks on several versions, class proxies and thresholds of each example's own, beside LiRA on one version."""
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((64, examples)), axis=0) < 32, random.random((1, examples)) < 0.5])
    labels = random.integers(100, size=examples)

    def version() -> Observed:
        phi = random.normal(size=(65, examples, 2)).astype(np.float32) + 1.5 * members[..., None].astype(np.float32)
        return Observed(phi, members, labels=labels)

    models, *others = (version() for _ in range(3))
    pairs = [(other, None) for other in others]
    one = timed(lambda: score_leave_one_out({"": LiRAJoint(variance=Shrunk())}, models, versions=pairs[:1]))
    two = timed(lambda: score_leave_one_out({"": LiRAJoint(variance=Shrunk())}, models, versions=pairs))
    proxy = timed(lambda: score_leave_one_out(proxies(), models))
    single = timed(lambda: score_leave_one_out({"": reference()["lira_online"]}, models))
    name = f"65 targets x {examples} x 2 queries"
    yield row(f"LiRA joint, 2 versions, {name}; other: LiRA online", one, single)
    yield row(f"LiRA joint, 3 versions, {name}; other: LiRA online", two, single)
    yield row(f"LiRA offline, class proxies, {name}; other: LiRA online", proxy, single)
    scores, own = score_leave_one_out({"": reference()["lira_online"]}, models)[""], np.arange(65)
    rates = timed(lambda: per_example_rates(scores, members, scores, members, [0.001, 0.01], own=own))
    yield row(f"rates at each example's own threshold, 65 x {examples}; other: LiRA online", rates, single)


def whole(examples: int) -> Iterator[Row]:
    """The command itself, every one of 65 models a target, without slices and with ten that are a partition."""
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((64, examples)), axis=0) < 32, random.random((1, examples)) < 0.5])
    part = random.integers(10, size=examples)
    names = [name for name in standard() if name not in ("base", "threshold")]
    name = f"the whole audit, 65 targets x {examples} x {len(names)} attacks"
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: str(Path(folder) / f"{kind}.npz") for kind in ("models", "slices")}
        confidence = random.normal(size=members.shape).astype(np.float32) + 1.5 * members.astype(np.float32)
        np.savez(files["models"], members=members, confidence=confidence)
        np.savez(files["slices"], **{f"slice_{number}": part == number for number in range(10)})
        del confidence

        def audit(*options: str) -> float:
            given = ["--input", files["models"], "--output", str(Path(folder) / "out"), "--attacks", *names]
            start = time.process_time()
            main_of_audit([*given, "--design", "leave_one_out", "--report", "false", *options])
            return time.process_time() - start

        without = [audit()]
        yield row(f"{name}, with intervals and bounds", without, None)
        yield row(f"{name}, with ten slices; other: without", [audit("--slices", files["slices"])], without)


def lira(examples: int, queries: int, public: Path | None) -> Iterator[Row]:
    """65 leave-one-out targets, five scores each."""
    random = np.random.default_rng(0)
    members = np.vstack([np.argsort(random.random((64, examples)), axis=0) < 32, random.random((1, examples)) < 0.5])
    phi = random.normal(size=(65, examples, queries)).astype(np.float32)
    phi += 1.5 * members[..., None]
    models = Observed(phi, members)
    name = f"LiRA, 65 targets x {examples} x {queries} queries x 5 scores"
    few = 1
    ours = timed(lambda: score_leave_one_out(reference(), models))
    yield row(f"{name}, against a plain loop", ours, [s * 65 / few for s in timed(lambda: plain(phi, members, few), 1)])
    if public is not None:
        functions = public_scores(public / "plot.py")
        double = phi.astype(np.float64)
        others = timed(lambda: [run_public(functions, double, members, target) for target in range(few)], 1)
        yield row(f"{name}, against the public reference", ours, [s * 65 / few for s in others])
        scores = score_leave_one_out(reference(), models)
        for attack, values in run_public(functions, double, members, 1).items():
            difference = float(np.max(np.abs(scores[attack][1] - values) / np.maximum(np.abs(values), 1e-3)))
            yield {**row(f"  largest relative difference, {attack}", [difference], None), "unit": "1"}
        del double
    tracemalloc.start()
    score_leave_one_out(reference(), models)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    outputs = 5 * members.size * 8
    yield {**row(f"{name}, memory", [peak / 2**30], None), "unit": "GiB"}
    yield {**row("  of which scores", [outputs / 2**30], None), "unit": "GiB"}


def timed(run: Callable[[], object], repeats: int = 3) -> list[float]:
    """CPU seconds of each run."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return seconds


def row(case: str, ours: list[float], other: list[float] | None) -> Row:
    best = min(ours)
    least = None if other is None else min(other)
    spread = (max(ours) - best) / best if best else 0.0
    ratio = None if least is None else least / best
    return {"case": case, "ours": best, "other": least, "unit": "CPU s", "ratio": ratio, "spread": spread}


def plain(phi: NDArray[np.float32], members: NDArray[np.bool_], targets: int) -> None:
    """The five scores from their formulas, example by example, target by target."""
    for target in range(targets):
        others = np.arange(len(phi)) != target
        inside = [phi[others & members[:, j], j].astype(np.float64) for j in range(members.shape[1])]
        outside = [phi[others & ~members[:, j], j].astype(np.float64) for j in range(members.shape[1])]
        sizes = [min(map(len, group)) for group in (inside, outside)]
        a, b = (np.array([v[:size] for v in group]) for group, size in zip((inside, outside), sizes, strict=True))
        m_in, m_out = np.median(a, axis=1), np.median(b, axis=1)
        x = phi[target].astype(np.float64)

        def log_density(centre: NDArray[np.float64], deviation: Any, at: NDArray[np.float64] = x) -> Any:  # noqa: ANN401
            return -0.5 * ((at - centre) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)

        for s_in, s_out, s_off in (
            (a.std(axis=1) + 1e-30, b.std(axis=1) + 1e-30, b.std(axis=1) + 1e-30),
            (a.std(), a.std(), b.std()),
        ):
            (log_density(m_in, s_in) - log_density(m_out, s_out)).mean(axis=1)
            -log_density(m_out, s_off).mean(axis=1)
        x.mean(axis=1)


def plain_confidence(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """The formula on the whole array."""
    rest = logits.astype(np.float64)
    true = np.take_along_axis(rest, labels[:, None, None], -1)
    np.put_along_axis(rest, labels[:, None, None], -np.inf, -1)
    top = rest.max(-1, keepdims=True)
    true[..., 0] - top[..., 0] - np.log(np.exp(rest - top).sum(-1))


def resample_one_by_one(scores: NDArray[np.float64], members: NDArray[np.bool_], count: int) -> None:
    """Draw examples, sort them, read the numbers off: again and again."""
    random = np.random.default_rng(0)
    inside, outside = np.flatnonzero(members), np.flatnonzero(~members)
    for _ in range(count):
        drawn = np.concatenate([random.choice(inside, inside.size), random.choice(outside, outside.size)])
        curve = roc(scores[drawn], members[drawn])
        auc(curve)
        tpr_at_fpr(curve, 0.001)


def public_scores(path: Path) -> dict[str, Callable[..., Any]]:
    """The functions that compute scores, without the file's imports for plotting."""
    tree = ast.parse(path.read_text())
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("generate_")]
    names: dict[str, Any] = {"np": np, "scipy": scipy}
    exec(compile(ast.Module(wanted, []), str(path), "exec"), names)
    online, offline = names["generate_ours"], names["generate_ours_offline"]
    return {
        "lira_online": online,
        "lira_online_fixed": functools.partial(online, fix_variance=True),
        "lira_offline": offline,
        "lira_offline_fixed": functools.partial(offline, fix_variance=True),
        "threshold": names["generate_global"],
    }


def run_public(
    functions: dict[str, Callable[..., Any]], phi: NDArray[np.float64], members: NDArray[np.bool_], target: int
) -> dict[str, NDArray[np.float64]]:
    """The public reference's scores of one target, larger meaning member as ours."""
    others = np.arange(len(phi)) != target
    at = slice(target, target + 1)
    return {
        name: -np.array(function(members[others], phi[others], members[at], phi[at])[0])
        for name, function in functions.items()
    }


if __name__ == "__main__":
    main()
