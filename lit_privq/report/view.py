"""What the page looks at: the results of an audit, its conclusions, and the titles of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isnan

from lit_privq.artifacts.measures import Change, Focus, Measures, Rate, TargetMean
from lit_privq.artifacts.results import ALL, Key, Results
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.style import Look, looks
from lit_privq.report.utility import ACCURACY, R_SQUARED, Utility
from lit_privq.report.words import NO_TITLES, Titles, measure, spaced


@dataclass(frozen=True)
class View:
    """The results, seen through what the audit chose to look at.

    Args:
        results: results.csv.
        measures: metrics.json.
        titles: of methods and attacks.
        page: results of all studies on the page, in its order; empty where these are alone.
    """

    results: Results
    measures: Measures
    titles: Titles = NO_TITLES
    page: tuple[Results, ...] = ()

    @property
    def focus(self) -> Focus:
        """What the audit chose."""
        return self.measures.focus

    @property
    def attack(self) -> str:
        """The attack of the headline."""
        return self.focus.attack

    @property
    def metric(self) -> str:
        """The measure of leakage, a metric of results.csv."""
        return self.focus.metric

    @property
    def bound(self) -> float | None:
        """Largest false-positive rate, a fraction; None where leakage is measured by the AUC."""
        return self.focus.bound

    @property
    def chance(self) -> float:
        """What random guessing scores."""
        return self.focus.chance

    @property
    def utility(self) -> Utility:
        """What models are good for."""
        return R_SQUARED if self.focus.utility == R_SQUARED.metric else ACCURACY

    @property
    def scope(self) -> str:
        """What an interval beside a mean is about."""
        return "for other targets" if len(self.results.targets) > 1 else "of this target’s examples"

    def label(self, variant: Variant) -> str:
        """Method and precision, as people write them."""
        return self.titles.label(variant)

    def attack_title(self, name: str) -> str:
        """An attack, as people write it."""
        return self.titles.attack(name)

    def strongest(self, variant: Variant) -> str:
        """The attacker whom the headline's attack serves best."""
        return self.focus.strongest.get(variant.name, "")

    @property
    def guessing(self) -> tuple[Variant, ...]:
        """The variants that only guess or lose most of their utility: left out of headline and figures of utility."""
        return tuple(variant for variant in self.results.variants if variant.name in self.focus.guessing)

    @property
    def shown(self) -> tuple[Variant, ...]:
        """The variants that do more than guess, full precision too."""
        return tuple(variant for variant in self.results.variants if variant.name not in self.focus.guessing)

    @property
    def plain(self) -> tuple[Variant, ...]:
        """The first recipe's quantized variants with one precision in all layers."""
        return tuple(v for v in self.results.variants if v.quantized and v.uniform and not v.recipe)

    @property
    def lowest(self) -> Variant | None:
        """Of the first recipe's quantized models that do more than guess, the best one of the fewest bits."""
        quantized = [variant for variant in self.plain if variant in self.shown and self.leak(variant)]
        fewest = [v for v in quantized if v.bits == min(one.bits for one in quantized)]
        return max(fewest, key=lambda v: found.value if (found := self.useful(v)) else 0.0, default=None)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Colour, marker and line of every group of variants, the same in all figures of the page."""
        return looks(*(self.page or (self.results,)))

    def leak(self, variant: Variant) -> TargetMean | None:
        """Leakage to the strongest attacker; None where it was not measured."""
        found = self.measures.means.get(self.focus.key(variant))
        return None if found is None or isnan(found.value) else found

    def useful(self, variant: Variant) -> TargetMean | None:
        """How good a variant is; None where it was not measured."""
        found = self.measures.means.get(Key(variant, self.utility.metric))
        return None if found is None or isnan(found.value) else found

    def saving(self, variant: Variant) -> Change | None:
        """Change of leakage from full precision; negative is a saving."""
        return self.measures.changes.get(self.focus.key(variant))

    def worst(self, variant: Variant) -> Rate | None:
        """The AUC among the worst-case slice; None where it was not measured."""
        return self.rate(self.focus.worst_key(variant))

    @property
    def knows_worst(self) -> bool:
        """Whether that AUC was measured of anything: some slices have no non-members."""
        return any(map(self.worst, self.results.variants))

    def worst_saving(self, variant: Variant) -> Change | None:
        """Change of that AUC from full precision; negative is a saving."""
        return self.measures.changes.get(self.focus.worst_key(variant))

    @property
    def protected(self) -> list[Variant]:
        """The variants of use that the audit shows to lower that AUC."""
        return [v for v in self.shown if (change := self.worst_saving(v)) and change.verdict == "lower"]

    def measured(self, part: str) -> str:
        """What the leakage of all members, or of the worst-case slice, is measured by."""
        return measure(self.bound) if part == ALL else f"AUC among {spaced(part)}"

    def cost(self, variant: Variant) -> Change | None:
        """Change of utility from full precision; negative is a cost."""
        return self.measures.changes.get(Key(variant, self.utility.metric))

    def rate(self, key: Key) -> Rate | None:
        """A mean with its interval for other targets, or a single target with its own; None where not measured."""
        mean = self.measures.means.get(key)
        if mean is None or isnan(mean.value):
            return None
        if mean.targets > 1:
            return Rate(mean.value, mean.low, mean.high)
        (cell,) = self.results.series[key].values()
        return Rate(cell.value, cell.low, cell.high)
