"""What the page looks at: the paper's pair of attacks, one operating point, and the strongest attacker of a variant."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.artifacts.results import Results
from lit_privq.artifacts.variant import Variant
from lit_privq.report.spread import Spread, paired, spread
from lit_privq.report.utility import Utility, utility
from lit_privq.report.words import NO_TITLES, Titles

PAPER_BOUND = 0.001
PAPER_ATTACKS = ("lira_online_fixed", "lira_offline_fixed")


@dataclass(frozen=True)
class View:
    """The results, seen through one measure of leakage.

    Args:
        results: everything measured.
        attacks: the attacks drawn, the headline's first.
        metric: the measure of leakage, a metric of results.csv.
        empty: the bounds at which not every target could be measured.
        titles: of methods and attacks.
    """

    results: Results
    attacks: tuple[str, ...]
    metric: str
    empty: tuple[float, ...]
    titles: Titles = NO_TITLES

    @property
    def attack(self) -> str:
        """The attack of the headline."""
        return self.attacks[0]

    @property
    def bound(self) -> float | None:
        """Largest false-positive rate, a fraction; None where leakage is measured by the AUC."""
        return _bound(self.metric)

    @property
    def chance(self) -> float:
        """What random guessing scores."""
        return 0.5 if self.bound is None else self.bound

    @property
    def utility(self) -> Utility:
        """What models are good for."""
        return utility(self.results)

    def label(self, variant: Variant) -> str:
        """Method and precision, as people write them."""
        return self.titles.label(variant)

    def attack_title(self, name: str) -> str:
        """An attack, as people write it."""
        return self.titles.attack(name)

    def useful(self, variant: Variant) -> dict[int, float]:
        """How good a variant is, by target."""
        return self.results.values(variant, self.utility.metric)

    def leakage(self, variant: Variant, attacker: str, attack: str | None = None) -> dict[int, float]:
        """True-positive rate at the operating point, by target."""
        return self.results.values(variant, self.metric, attacker, attack or self.attack)

    def strongest(self, variant: Variant, attack: str | None = None) -> str:
        """The attacker that identifies most members on average; the one that appears first where two identify as many.

        The paired attacker, who also holds the full-precision parent and attacks that one too, is left out.
        """
        seen = [name for name in self.results.attackers(variant) if name != "paired"]
        attackers = [name for name in seen if self.leakage(variant, name, attack)]
        return max(attackers, key=lambda name: spread(self.leakage(variant, name, attack)).mean, default="")

    def worst(self, variant: Variant) -> dict[int, float]:
        """Leakage to the strongest attacker, by target."""
        return self.leakage(variant, self.strongest(variant))

    def saving(self, variant: Variant) -> Spread | None:
        """Change of leakage against full precision, target by target; negative is a saving."""
        reference = self.results.full_precision
        return paired(self.worst(variant), self.worst(reference)) if reference else None

    def cost(self, variant: Variant) -> Spread | None:
        """Change of utility against full precision, target by target; negative is a cost."""
        reference = self.results.full_precision
        if reference is None:
            return None
        return paired(self.useful(variant), self.useful(reference))


def choose_view(results: Results, titles: Titles = NO_TITLES) -> View:
    """The paper's pair of attacks where full precision met it, else the first two; the paper's bound where it can be.

    Otherwise the next larger bound, then the next smaller, and in a study too small for any of them the AUC.

    Raises:
        ValueError: if the file holds no attack.
    """
    if not results.attacks:
        raise ValueError("results.csv must hold at least one attack; got none; run `audit` on the study first")
    plain = results.full_precision
    run = [
        name for name in results.attacks if any(key.attack == name and key.variant == plain for key in results.series)
    ]
    run = run or list(results.attacks)
    attacks = tuple(attack for attack in PAPER_ATTACKS if attack in run) or tuple(run[:2])
    bounds = sorted(bound for metric in results.metrics if (bound := _bound(metric)) is not None)
    ordered = [bound for bound in bounds if bound >= PAPER_BOUND] + [b for b in reversed(bounds) if b < PAPER_BOUND]
    measured = [bound for bound in ordered if _measured(results, f"tpr_at_{bound:g}")]
    metric = f"tpr_at_{measured[0]:g}" if measured else "auc"
    return View(results, attacks, metric, tuple(bound for bound in bounds if bound not in measured), titles)


def _bound(metric: str) -> float | None:
    """The bound in a metric's name."""
    return float(metric.removeprefix("tpr_at_")) if metric.startswith("tpr_at_") else None


def _measured(results: Results, metric: str) -> bool:
    """Whether every target has a value wherever it was asked for: a mean over some of them would be another number."""
    asked = [(results.cells(*key), cells) for key, cells in results.series.items() if key.metric == metric]
    return bool(asked) and all(len(filled) == len(cells) for filled, cells in asked)
