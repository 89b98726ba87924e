"""Why the adaptive attacker gains little: what it knows worse than one who did not quantize the shadow models.

python benchmarks/adaptive_gap.py RUN VARIANT... [--shadows N] [--fpr 0.01]

Online LiRA with fixed variance asks of each example where models that trained on it stand, and where others do: a
middle and a gap. The adaptive attacker takes both from quantized shadow models, the unaware one from their
full-precision parents, which the adaptive one holds too. Mixed attackers take the middle from one and the gap from the
other, or the mean of both. RMIA needs neither: it compares with the mean over all shadow models. RUN is a study's
folder whose shadow models were quantized; with --shadows the first N models of any study are the shadows, and the
others that were quantized the targets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.attacks import Attack, LiRAOnline, Observed, RMIAOnline, score_held_out
from lit_privq.audit.folder import Folder
from lit_privq.metrics import Difference, Estimate, difference_over_targets, mean_over_targets, roc, tpr_at_fpr

Floats = NDArray[np.float64]
LIRA, RMIA = LiRAOnline(), RMIAOnline()


def centres(models: Observed) -> tuple[Floats, Floats]:
    """Middle and gap of the means of members and of others, (examples, queries) each."""
    confidence, members = np.asarray(models.confidence, float), models.members[..., None]
    inside, outside = (np.where(own, confidence, 0).sum(0) / own.sum(0) for own in (members, ~members))
    return (inside + outside) / 2, inside - outside


def moved(models: Observed, middle: Floats, gap: Floats) -> Observed:
    """The models, shifted example by example so that middle and gap are the given ones; spreads stay."""
    own_middle, own_gap = centres(models)
    side = np.where(models.members, 0.5, -0.5)[..., None]
    shift = middle - own_middle + side * (gap - own_gap)
    return Observed(np.asarray(models.confidence) + shift, models.members)


def attackers(quantized: Observed, parents: Observed) -> dict[str, Observed]:
    """The shadow models of each attacker."""
    (middle, gap), (full_middle, full_gap) = centres(quantized), centres(parents)
    return {
        "unaware": parents,
        "adaptive": quantized,
        "adaptive, gap of the parents": moved(quantized, middle, full_gap),
        "adaptive, middle of the parents": moved(quantized, full_middle, gap),
        "adaptive, mean of both": moved(quantized, (middle + full_middle) / 2, (gap + full_gap) / 2),
    }


def spread(models: Observed, gap: Floats) -> tuple[float, float]:
    """Mean gap, and the deviation of one model's confidence from the mean of its side."""
    middle, _ = centres(models)
    side = np.where(models.members, 0.5, -0.5)[..., None]
    return float(gap.mean()), float((np.asarray(models.confidence) - middle - side * gap).std())


def rates(shadows: Observed, targets: Observed, fpr: float, attack: Attack) -> Floats:
    """True-positive rate of each target."""
    scores = score_held_out({"": attack}, shadows, targets)[""]
    return np.array([tpr_at_fpr(roc(row, own), fpr) for row, own in zip(scores, targets.members, strict=True)])


def told(mean: Estimate | Difference, sign: str = "") -> str:
    """A mean over targets and its interval, in percent."""
    return f"{100 * mean.value:{sign}.2f} ({100 * mean.low:{sign}.2f} to {100 * mean.high:{sign}.2f})"


def main() -> None:
    """Print a table for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--shadows", type=int)
    parser.add_argument("--fpr", type=float, default=0.01)
    asked = parser.parse_args()
    folder = Folder(asked.run / "confidence")
    for name in asked.variants:
        models = folder.read(name)
        there = sorted(models.dumps)
        shadows = there[: asked.shadows] if asked.shadows else folder.shadows
        targets = [index for index in there if index not in shadows]
        attacked, parents = models.observed(targets), folder.parent(models.variant).observed(shadows)
        quantized = models.observed(shadows)
        if not np.array_equal(quantized.members.any(0), ~quantized.members.all(0)):
            parser.error(f"of {len(shadows)} shadow models all or none trained on some examples; take more")
        (gap, noise), (full_gap, full_noise) = (spread(each, centres(each)[1]) for each in (quantized, parents))
        print(f"\n{name}: {len(shadows)} shadows, {len(targets)} targets; mean gap {full_gap:.2f} in full precision,")
        print(f"{gap:.2f} quantized; deviation of one model {full_noise:.2f} and {noise:.2f}\n")
        print(f"| attacker | TPR at {asked.fpr:.1%} FPR, % | less the adaptive one's, points |\n|---|--:|--:|")
        held = attackers(quantized, parents)
        found = {who: rates(models, attacked, asked.fpr, LIRA) for who, models in held.items()}
        found["adaptive, RMIA"] = rates(quantized, attacked, asked.fpr, RMIA)
        for who, rate in found.items():
            change = difference_over_targets(rate - found["adaptive"])
            print(f"| {who} | {told(mean_over_targets(rate))} | {told(change, '+')} |")


if __name__ == "__main__":
    main()
