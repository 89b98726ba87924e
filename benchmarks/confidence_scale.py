"""How much of what quantization hides is only a lower confidence, which an attacker who does not expect it misreads.

python benchmarks/confidence_scale.py RUN [VARIANT ...] [--fpr 0.001]

The unaware attacker's shadow models are in full precision, so that LiRA compares a quantized model's log-odds with
those of models that are surer of themselves. For each variant of RUN, a study's folder: what that attacker finds; what
the same finds on log-odds that are given the median and interquartile range of the shadow models' (aligned); what the
adaptive one finds, where the shadow models were quantized; and what the unaware one finds of the full-precision targets
where these are given the quantized ones' median and interquartile range, so that they differ in nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from adaptive_gap import LIRA, Floats, rates, told

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import LiRAOnlineAligned, Observed
from lit_privq.audit.folder import Folder
from lit_privq.metrics import difference_over_targets, mean_over_targets

ALIGNED = LiRAOnlineAligned()


def as_sure_as(models: Observed, others: Observed) -> Observed:
    """The models with the median and interquartile range of the others, model by model and query by query."""
    (median, spread), (level, wanted) = ([each[:, None] for each in part.scale] for part in (models, others))
    return Observed((np.asarray(models.confidence, float) - median) / spread * wanted + level, models.members)


def attackers(folder: Folder, name: str, fpr: float) -> Iterator[tuple[str, Floats]]:
    """What each attacker finds of a variant; first of all what the unaware one finds in full precision."""
    parent, models = folder.parent(Variant.parse(name)), folder.read(name)
    shadows, full = (parent.observed(each) for each in (folder.shadows, folder.targets))
    targets = models.observed(folder.targets)
    yield "full precision", rates(shadows, full, fpr, LIRA)
    yield "unaware", rates(shadows, targets, fpr, LIRA)
    yield "aligned", rates(shadows, targets, fpr, ALIGNED)
    if all(index in models.dumps for index in folder.shadows):
        yield "adaptive", rates(models.observed(folder.shadows), targets, fpr, LIRA)
    yield "full precision, as sure as it", rates(shadows, as_sure_as(full, targets), fpr, LIRA)


def main() -> None:
    """Print a table: rates with their intervals, and differences from the unaware attacker, paired over targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--fpr", type=float, default=0.001)
    asked = parser.parse_args()
    folder = Folder(asked.run / "confidence")
    print(f"| model | attacker | TPR at {asked.fpr:.1%} FPR, % | factor | more than the unaware one, points |")
    print("|---|---|--:|--:|--:|")
    for name in asked.variants or [each for each in folder.variants if Variant.parse(each).quantized]:
        found = dict(attackers(folder, name, asked.fpr))
        for who, rate in found.items():
            factor = found["full precision"].mean() / rate.mean()
            cells = told(mean_over_targets(rate)), f"{factor:.1f}"
            more = told(difference_over_targets(rate - found["unaware"]), "+")
            print(f"| {name} | {who} | {' | '.join(cells)} | {more * (who != 'unaware')} |", flush=True)


if __name__ == "__main__":
    main()
