"""How much of what quantization hides is only a lower confidence, which an attacker who does not expect it misreads.

python benchmarks/confidence_scale.py RUN [VARIANT ...] [--fpr 0.001]

The unaware attacker's shadow models are in full precision, so that LiRA compares a quantized model's log-odds with
those of models that are surer of themselves. Aligned, the target's log-odds are shifted and stretched to the mean and
deviation that a shadow model's have on average, for which nothing is quantized. For each variant of RUN, a study's
folder, all three attackers stand side by side, and by what factor they find less than in full precision.

The last table quantizes nothing: it divides the full-precision targets' log-odds by a number, which hides nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, LiRAOnline, LiRAOnlineAligned, Observed, reference, score_held_out
from lit_privq.audit.folder import Folder, Models
from lit_privq.metrics import difference_over_targets, mean_over_targets, roc, tpr_at_fpr

Floats = NDArray[np.float64]
LIRA, ALIGNED, REFERENCE = LiRAOnline(), LiRAOnlineAligned(), reference()["lira_online_fixed"]
DIVISORS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def divided(targets: Observed, by: float) -> Observed:
    """The targets, each as much less sure of every answer."""
    return Observed(np.asarray(targets.confidence, float) / by, targets.members)


def rates(shadows: Observed, targets: Observed, fpr: float, attack: Attack = LIRA) -> Floats:
    """True-positive rate of each target."""
    scores = score_held_out({"": attack}, shadows, targets)[""]
    return np.array([tpr_at_fpr(roc(row, own), fpr) for row, own in zip(scores, targets.members, strict=True)])


def told(found: Floats, full: Floats) -> str:
    """A rate with its interval, and by what factor it is less than in full precision."""
    mean = mean_over_targets(found)
    return f"{100 * mean.value:.2f} ({100 * mean.low:.2f} to {100 * mean.high:.2f}) | {full.mean() / mean.value:.1f}"


def attackers(folder: Folder, models: Models, shadows: Observed) -> Iterator[tuple[str, Observed, Attack]]:
    """Name, shadow models and attack of each attacker."""
    yield "unaware", shadows, LIRA
    yield "aligned", shadows, ALIGNED
    if all(index in models.dumps for index in folder.shadows):
        yield "adaptive", models.observed(folder.shadows), LIRA


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--fpr", type=float, default=0.001)
    asked = parser.parse_args()
    folder = Folder(asked.run / "confidence")
    names = asked.variants or folder.variants
    print(f"| model | attacker | TPR at {asked.fpr:.1%} FPR, % | factor | more than the unaware one, points |")
    print("|---|---|--:|--:|--:|")
    for name in names:
        variant = Variant.parse(name)
        shadows, full = (folder.parent(variant).observed(each) for each in (folder.shadows, folder.targets))
        before = rates(shadows, full, asked.fpr)
        if not variant.quantized:
            print(f"| {name} |  | {told(before, before)} |  |", flush=True)
            continue
        models, unaware = folder.read(name), before
        for who, held, attack in attackers(folder, models, shadows):
            found = rates(held, models.observed(folder.targets), asked.fpr, attack)
            unaware = found if who == "unaware" else unaware
            more = difference_over_targets(found - unaware)
            change = f"{100 * more.value:+.2f} ({100 * more.low:+.2f} to {100 * more.high:+.2f})"
            print(f"| {name} | {who} | {told(found, before)} | {change * (who != 'unaware')} |", flush=True)
    for name in (name for name in names if not Variant.parse(name).quantized):
        shadows, full = (folder.parent(Variant.parse(name)).observed(each) for each in (folder.shadows, folder.targets))
        print(f"\n{name}\n\n| log-odds divided by | fixed variance | factor | the reference's | factor |")
        print("|--:|--:|--:|--:|--:|")
        wholes = [rates(shadows, full, asked.fpr, attack) for attack in (LIRA, REFERENCE)]
        for by in DIVISORS:
            parts = [rates(shadows, divided(full, by), asked.fpr, attack) for attack in (LIRA, REFERENCE)]
            print(f"| {by:g} | {' | '.join(map(told, parts, wholes))} |", flush=True)


if __name__ == "__main__":
    main()
