"""The auditor checks itself: recipes whose order is known, and DP-SGD whose epsilon is known, under its own attack.

python benchmarks/self_check.py [--quick] [--json FILE]

Twelve models of the digits with 60 mislabelled canaries for each recipe (with --quick six), attacked leave-one-out by
LiRA with shrunk variances. What must hold: no lower bound on epsilon, of any model, lies above the accountant's epsilon
of its DP-SGD; label smoothing, and a recipe that is made to leak (no weight decay, three times the epochs), leak more
than the default. Lower bounds hold with 95 % for each model, for the best threshold of its ROC, Bonferroni-corrected.
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
NOISE = "--model.dp_sgd.noise_multiplier"
RECIPES = {
    "default": (DEFAULT,),
    "label smoothing 0.1": (CONFIGS / "recipe/smooth.yaml",),
    "made to leak": (
        *(DEFAULT, "--model.optimizer.init_args.weight_decay", "0", "--trainer.max_epochs", "90"),
        *("--trainer.check_val_every_n_epoch", "90", "--model.scheduler.init_args.T_max", "90"),
    ),
    "group norm, no noise": (CONFIGS / "recipe/group_norm.yaml",),
    "DP-SGD, noise 0.1": (CONFIGS / "recipe/dp_sgd_low.yaml",),
    "DP-SGD, noise 0.3": (CONFIGS / "recipe/dp_sgd_medium.yaml",),
    "DP-SGD, noise 1.0": (CONFIGS / "recipe/dp_sgd_medium.yaml", NOISE, "1.0"),
}
MAX_FPR = 0.01


@dataclass(frozen=True)
class Leakage:
    """What the models of a recipe give away.

    Args:
        accuracy: mean, on the test set.
        tpr: (models,) at 1 % FPR.
        canary_tpr: (models,) of mislabelled members, at the same thresholds.
        bounds: (models,) lower bounds on epsilon.
        epsilon: the accountant's, None without a guarantee.
    """

    accuracy: float
    tpr: NDArray[np.float64]
    canary_tpr: NDArray[np.float64]
    bounds: NDArray[np.float64]
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
        np.array([epsilon_lower_bound(s, own, Bonferroni()) for s, own in zip(scores, data.members, strict=True)]),
        made.get("dp_sgd", {}).get("epsilon"),
    )


def _canaries(scores: NDArray[np.float64], members: NDArray[np.bool_], canaries: NDArray[np.bool_]) -> float:
    """Share of a model's canaries above the threshold that one per cent of all non-members reach."""
    others = np.sort(scores[~members])
    threshold = others[-int(MAX_FPR * len(others)) - 1]
    return float((scores[members & canaries] > threshold).mean())


def rows(found: dict[str, Leakage]) -> list[Row]:
    """Figures with intervals, and whether what must hold does."""
    base = found["default"]
    lines = []
    for name, leakage in found.items():
        spread = {
            "all": mean_over_targets(leakage.tpr), "canaries": mean_over_targets(leakage.canary_tpr),
        }  # fmt: skip
        change = difference_over_targets(leakage.tpr - base.tpr)
        note = (
            f"95 % interval {100 * spread['all'].low:.1f} to {100 * spread['all'].high:.1f}; canaries "
            f"{100 * spread['canaries'].value:.1f} ({100 * spread['canaries'].low:.1f} to "
            f"{100 * spread['canaries'].high:.1f}); test accuracy {100 * leakage.accuracy:.1f} %"
        )
        if name in ("label smoothing 0.1", "made to leak"):
            holds = "holds" if change.low > 0 else "DOES NOT HOLD"
            note += (
                f"; more than the default by {100 * change.value:.1f} ({100 * change.low:.1f} to "
                f"{100 * change.high:.1f}), p = {change.p:.2g}: {holds}"
            )
        lines.append(Row(name, 100 * float(leakage.tpr.mean()), None, "% TPR at 1 % FPR", note=note))
        what = f"{name}: lower bound on epsilon, the largest of {len(leakage.bounds)} models"
        verdict = ""
        if leakage.epsilon is not None:
            below = leakage.bounds.max() <= leakage.epsilon
            verdict = f"; other: the accountant's, at delta 1e-5: {'holds' if below else 'DOES NOT HOLD'}"
        note = f"their mean {leakage.bounds.mean():.2f}{verdict}"
        lines.append(Row(what, float(leakage.bounds.max()), leakage.epsilon, "epsilon", note=note))
    return lines


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
