"""The auditor checks itself: recipes whose order is known, and DP-SGD whose epsilon is known, under its own attack.

python benchmarks/self_check.py [--quick] [--json FILE]

Twelve models of the digits with 60 mislabelled canaries for each recipe (with --quick six), attacked leave-one-out by
LiRA with shrunk variances. What must hold: no lower bound on epsilon lies above the accountant's epsilon of its DP-SGD,
at three noise levels; the same training without its noise is found out, by a bound above the epsilon of the highest
noise; label smoothing leaks more than the default; a recipe that is made to leak (no augmentation, no weight decay,
three times the epochs) leaks more than the default with augmentation. The digits' default has no augmentation itself.

A bound is that of the best threshold on all models' scores together, with 95 %, Bonferroni-corrected for the choice; it
counts the examples of one training as independent, as every audit with few trainings does. The largest bound of a
single model holds with 95 % for all of them at once.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rows import Row, options, show

from lit_privq.attacks import LiRAOnline, Observed, Shrunk, score_leave_one_out
from lit_privq.cli import run_cli
from lit_privq.metrics import Bonferroni, difference_over_targets, epsilon_lower_bound, mean_over_targets
from lit_privq.metrics.roc import roc, tpr_at_fpr

CONFIGS = Path(__file__).parent.parent / "configs"
DEFAULT = CONFIGS / "shadow/digits.yaml"
DP_SGD = CONFIGS / "recipe/dp_sgd_medium.yaml"
NOISE, RATE = "--model.dp_sgd.noise_multiplier", "--model.optimizer.init_args.lr"
RECIPES = {
    "default": (DEFAULT,),
    "label smoothing 0.1": (CONFIGS / "recipe/smooth.yaml",),
    "augmented": (DEFAULT, "--data.padding", "1"),
    "made to leak": (
        *(DEFAULT, "--model.optimizer.init_args.weight_decay", "0", "--trainer.max_epochs", "90"),
        *("--trainer.check_val_every_n_epoch", "90", "--model.scheduler.init_args.T_max", "90"),
    ),
    "DP-SGD without its noise": (DP_SGD, NOISE, "0"),
    "DP-SGD, noise 0.3": (DP_SGD,),
    "DP-SGD, noise 1": (DP_SGD, NOISE, "1", RATE, "0.1"),
    "DP-SGD, noise 4": (DP_SGD, NOISE, "4", RATE, "0.03"),
}
LEAKS_MORE = {"label smoothing 0.1": "default", "made to leak": "augmented"}
MAX_FPR, DELTA = 0.01, 1e-5


@dataclass(frozen=True)
class Leakage:
    """What the models of a recipe give away.

    Args:
        accuracy: mean, on the test set.
        tpr: (models,) at 1 % FPR.
        canary_tpr: (models,) of mislabelled members, at the same thresholds.
        bound: lower bound on epsilon, of all models together.
        largest: of the models' own bounds, which hold at once.
        epsilon: the accountant's, None without a guarantee.
    """

    accuracy: float
    tpr: NDArray[np.float64]
    canary_tpr: NDArray[np.float64]
    bound: float
    largest: float
    epsilon: float | None


def measure(recipe: tuple[Path | str, ...], models: int, folder: Path) -> Leakage:
    """Train a fleet, ask it about the pool, and attack each model with the others."""
    config, *overrides = recipe
    split = ("--data.n_shadows", str(models), "--data.n_targets", "0", "--data.model_index", f"0:{models}")
    quiet = ("--trainer.callbacks", "null", "--trainer.default_root_dir", str(folder))
    cli = run_cli(["--config", str(config), *map(str, overrides), *split, *quiet], run=False)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    net, data = cli.model.eval(), cli.datamodule
    pool, n_examples = data.pool, len(data.pool.labels)
    images, labels = data.batch_maker("pool", torch.device("cpu")).batch(
        data.augmentation(torch.arange(n_examples), None)
    )
    with torch.no_grad():
        answers = torch.cat([net(batch.expand(models, *batch.shape)) for batch in images.split(128)], dim=1)
    confidence = pool.task.confidence(answers, labels).numpy()[..., None]  # (models, examples, 1)
    observed = Observed(confidence, data.members)
    scores = score_leave_one_out({"lira": LiRAOnline(variance=Shrunk(16))}, observed)["lira"]  # (models, examples)
    canaries = pool.slices["canaries"].numpy()
    made = net.checkpoints()[0]["lit_privq"]
    curves = [roc(row, members) for row, members in zip(scores, data.members, strict=True)]
    return Leakage(
        float(net.history[pool.task.metric].mean()),
        np.array([float(tpr_at_fpr(curve, MAX_FPR)) for curve in curves]),
        np.array([_canaries(row, own, canaries) for row, own in zip(scores, data.members, strict=True)]),
        epsilon_lower_bound(scores.ravel(), data.members.ravel(), Bonferroni(), delta=DELTA),
        max(
            epsilon_lower_bound(row, members, Bonferroni(), level=1 - 0.05 / models, delta=DELTA)
            for row, members in zip(scores, data.members, strict=True)
        ),
        made.get("dp_sgd", {}).get("epsilon"),
    )


def _canaries(scores: NDArray[np.float64], members: NDArray[np.bool_], canaries: NDArray[np.bool_]) -> float:
    """Share of a model's canaries above the threshold that one per cent of all non-members reach."""
    others = np.sort(scores[~members])
    threshold = others[-int(MAX_FPR * len(others)) - 1]
    return float((scores[members & canaries] > threshold).mean())


def rows(found: dict[str, Leakage]) -> list[Row]:
    """Figures with intervals, and whether what must hold does."""
    lines = []
    for name, leakage in found.items():
        note = f"{_interval(leakage.tpr)}; canaries {_interval(leakage.canary_tpr)}; accuracy {leakage.accuracy:.1%}"
        for other in ("default", "augmented"):
            change = difference_over_targets(leakage.tpr - found[other].tpr)
            if name in LEAKS_MORE:
                note += (
                    f"; {100 * change.value:+.1f} points from {other} ({100 * change.low:+.1f} to "
                    f"{100 * change.high:+.1f}), p = {change.p:.2g}"
                )
            if LEAKS_MORE.get(name) == other:
                note += f": {_verdict(change.low > 0)}"
        lines.append(Row(name, 100 * float(leakage.tpr.mean()), None, "% TPR at 1 % FPR", note=note))
    least = min(leakage.epsilon for leakage in found.values() if leakage.epsilon is not None)
    for name, leakage in found.items():
        note = f"largest of one model {leakage.largest:.2f}"
        if leakage.epsilon is not None:
            below = max(leakage.bound, leakage.largest) <= leakage.epsilon
            note += f"; other: the accountant's: {_verdict(below)}"
        elif name == "DP-SGD without its noise":
            note += f"; above {least:.3g}, the accountant's at the highest noise: {_verdict(leakage.bound > least)}"
        lines.append(Row(f"{name}: lower bound", leakage.bound, leakage.epsilon, "epsilon", note=note))
    return lines


def _interval(rates: NDArray[np.float64]) -> str:
    """A mean over models, in per cent, with its 95 % interval."""
    mean = mean_over_targets(rates)
    return f"{100 * mean.value:.1f} ({100 * mean.low:.1f} to {100 * mean.high:.1f})"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def main() -> None:
    chosen = options(__doc__)
    found = {}
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for recipe, config in RECIPES.items():
            found[recipe] = measure(config, 6 if chosen.quick else 12, Path(name))
            print(recipe, "trained and attacked", flush=True)
    show(rows(found), chosen.json)


if __name__ == "__main__":
    main()
