"""metrics.json: what an audit concludes, written by the audit and read by everything that shows it.

Every comparison is judged once, by the audit, and its verdict stands in the file: a statistic that is computed twice
disagrees once. Readers word the verdicts and never derive their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.results import POOL, SLICE, Key, Results
from lit_privq.artifacts.variant import Variant

Verdict = Literal["lower", "higher", "unclear", "untested"]
"""An interval below what it is compared with, above it, on both sides of it, or none at all."""

PAPER_BOUND = 0.001
"""The false-positive rate of the paper's figures, which the focus has where every target allows it."""

LEVEL = 0.05
"""p-values below it, and intervals that leave zero out at 1 - LEVEL, are called a difference."""


@dataclass(frozen=True)
class TargetMean:
    """A mean over targets, its 95 % interval for other targets, and the comparison with random guessing.

    Args:
        value: in the metric's own unit; rates are fractions. NaN where not every target could be measured.
        low: of the interval; NaN for one target, which says nothing of others.
        high: of the interval.
        chance: what random guessing scores; NaN where that is not one number.
        verdict: the interval compared with random guessing, a statement about other targets.
        targets: how many were measured.
        above: how many of these targets leak more than random guessing by their own interval, that of their examples.
        these: the mean of these targets compared with random guessing, by the interval that their examples give it; it
            says nothing of other targets, and so needs fewer of them.
    """

    value: float
    low: float
    high: float
    chance: float
    verdict: Verdict
    targets: int
    above: int
    these: Verdict


@dataclass(frozen=True)
class OwnChange:
    """The change of one target and its own 95 % interval, that of its examples; NaN where none was drawn."""

    target: int
    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class Change:
    """A difference from a variant's baseline, paired over targets.

    Args:
        value: mean over targets; negative is a saving of leakage, or a cost in accuracy.
        low: of the 95 % interval for other targets; NaN for one target.
        high: of the interval.
        p: two-sided, of no difference for other targets; NaN for one target.
        holm: p among all tests of the family (:attr:`Focus.family`), by Holm's correction; NaN outside of it.
        alone: what interval and p say for other targets if this were the only test.
        verdict: the same with all tests of the family counted; as ``alone`` outside of it.
        each: the targets one by one.
    """

    value: float
    low: float
    high: float
    p: float
    holm: float
    alone: Verdict
    verdict: Verdict
    each: tuple[OwnChange, ...] = ()

    def agreed(self, verdict: Verdict) -> bool:
        """Whether each of these targets has the same verdict by its own interval."""
        return bool(self.each) and all(own.verdict == verdict for own in self.each)


@dataclass(frozen=True)
class SliceGap:
    """How far the leakage of a slice lies from that of all members.

    Args:
        members: in the slice, of the target with the fewest.
        change: from the leakage of all members of the same targets.
    """

    members: int
    change: Change


@dataclass(frozen=True)
class Rate:
    """A rate and its 95 % interval: of the examples of one target, else for other targets."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ShadowThreshold:
    """A threshold fixed on shadow models, and what it does to targets.

    Args:
        variant: whose models.
        attacker: by whom.
        attack: and how.
        max_fpr: the false-positive rate aimed at.
        threshold: of the attack's scores.
        fpr: the false-positive rate reached.
        tpr: the true-positive rate.
        precision: share of those called members that are, by the share of members among all.
    """

    variant: Variant
    attacker: str
    attack: str
    max_fpr: float
    threshold: float
    fpr: Rate
    tpr: Rate
    precision: dict[float, Rate]


@dataclass(frozen=True)
class Reachable:
    """Share of the examples at which some shadow that trained on them exceeds the threshold of their own."""

    share: float


@dataclass(frozen=True)
class PrivacyBounds:
    """What an attack refutes of each target's training, each bound 95 % confident.

    Args:
        targets: model indices.
        delta: of (epsilon, delta) differential privacy.
        epsilon: lower bound of each target.
        above: how many of these are above 0: these targets leak more than random guessing.
        one_run: the same by counting right guesses over all examples of one run; NaN where targets are also shadows.
        mu: lower bound on Gaussian differential privacy's.
        alpha: corners of the bound on the trade-off function, false-positive rates by target; empty of most attacks.
        beta: and false-negative rates.
    """

    targets: tuple[int, ...]
    delta: float
    epsilon: tuple[float, ...]
    above: int
    one_run: tuple[float, ...]
    mu: tuple[float, ...]
    alpha: tuple[tuple[float, ...], ...] = ()
    beta: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Standing:
    """Which examples the shadow models of a variant give away.

    Args:
        standing_out: how many.
        before: how many at full precision.
        made_safe: how many of those no longer.
        safe_first: the examples made safe that fell furthest.
        overlap: share of the most exposed twentieth that is the same as at full precision.
        rank_correlation: of all examples' exposure with that at full precision.
        degenerate: examples whose confidence does not vary in a group of shadows.
        examples: of the pool.
    """

    standing_out: int
    before: int
    made_safe: int
    safe_first: tuple[int, ...]
    overlap: float
    rank_correlation: float
    degenerate: int
    examples: int


@dataclass(frozen=True)
class Used:
    """Which of the versions that an attacker holds the strongest attack uses; two where halves of targets differ."""

    versions: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """What an attacker finds who holds several released versions of each target.

    By the data-processing inequality no such attacker can beat one who holds the full-precision parent from which all
    versions were made, but through the calibration examples, which entered the versions once more.

    Args:
        versions: names of the variants.
        attack: name of the attack.
        used: as in :class:`Used`.
        alone: name of the version by which the attack finds most alone.
        metric: of all rates below.
        rate: with all versions.
        rate_alone: with the version ``alone``.
        rate_parent: with the parent.
        change: of ``rate`` from ``rate_parent``, without the calibration examples.
    """

    versions: tuple[str, ...]
    attack: str
    used: tuple[str, ...]
    alone: str
    metric: str
    rate: TargetMean
    rate_alone: TargetMean
    rate_parent: TargetMean
    change: Change


@dataclass(frozen=True)
class Front:
    """The models of one rival: what it leaks at the accuracies that it offers.

    Args:
        rival: a family of recipes, or a method and the recipe that it quantizes (:attr:`Variant.group`).
        slice: whose leakage this is.
        points: names of the variants that no other of the rival's dominates, by accuracy.
        dominated: names of the others: one of at least their accuracy leaks no more.
    """

    rival: str
    slice: str
    points: tuple[str, ...]
    dominated: tuple[str, ...]


@dataclass(frozen=True)
class AtEqualAccuracy:
    """A quantized variant beside a rival's front, at the variant's own accuracy.

    Args:
        rival: of a front with two points at least.
        slice: whose leakage this is.
        variant: name of the quantized variant.
        place: whether its accuracy lies ``inside`` of the front's range, ``below`` or ``above`` it.
        leakage: of the front at that accuracy; NaN outside of its range.
        change: the variant's leakage less the front's; Holm's correction counts the variants beside this rival on this
            slice; NaN and ``untested`` outside of the front's range.
    """

    rival: str
    slice: str
    variant: str
    place: str
    leakage: float
    change: Change


@dataclass(frozen=True)
class Draws:
    """What differs between the runs of one variant: its targets, each quantized several times.

    The components are standard deviations with 95 % intervals, in the metric's unit; NaN where the design has too few
    runs to tell them apart. That of the training holds all by which targets differ: their members, the noise of their
    training, and that of the examples that they are judged on.

    Args:
        variant: name of the first draw.
        metric: accuracy, or the headline's leakage.
        targets: how many.
        repeats: of each target.
        mean: over all runs.
        training: between targets.
        calibration: between draws of the calibration examples of one target.
        seed: between seeds of the quantizer.
        dip: Hartigan's statistic of all runs, how far they are from having one mode.
        dip_p: of there being one mode, as if all runs were independent; below 0.05 there are two clusters or more.
    """

    variant: str
    metric: str
    targets: int
    repeats: int
    mean: float
    training: Rate
    calibration: Rate
    seed: Rate
    dip: float
    dip_p: float


@dataclass(frozen=True)
class Focus:
    """What headline, text, tables and figures look at, chosen once.

    Variants are named (:attr:`Variant.name`).

    Args:
        attacks: those that are drawn, the headline's first.
        metric: the measure of leakage, a metric of results.csv.
        bound: its largest false-positive rate; None where it is the AUC.
        chance: what random guessing scores.
        empty: bounds at which not every target could be measured.
        utility: the metric of what models are good for, accuracy or r2; empty where it is unknown.
        strongest: of each variant, the attacker that the headline's attack serves best; the paired one left out.
        best: of each variant, every attacker's best attack by this metric; the strongest attacker comes first.
        family: the variants whose change of leakage is tested together: all that were compared, quantized ones and
            other recipes, with this metric and attack, by their strongest attacker. Holm's correction counts these
            tests.
        worst: the slice that stands for the worst case, canaries or else the most vulnerable examples; empty for none.
        worst_strongest: of each variant, the attacker whom the headline's attack serves best at telling that slice's
            members from its own non-members, by the AUC; the paired one left out.
        worst_family: as ``family``, by the AUC among that slice: tests of their own, with a correction of their own.
        least_costly: of the variants that lower leakage from the first recipe's full precision, the one that costs
            least utility; None where none does.
        largest: of the same, the one that lowers it most; None where none does.
        guessing: the variants that only guess or lose most of their utility; never the least costly or the largest.
    """

    attacks: tuple[str, ...]
    metric: str
    bound: float | None
    chance: float
    empty: tuple[float, ...]
    utility: str
    strongest: dict[str, str]
    best: dict[str, dict[str, str]]
    family: tuple[str, ...]
    worst: str
    worst_strongest: dict[str, str]
    worst_family: tuple[str, ...]
    least_costly: str | None
    largest: str | None
    guessing: tuple[str, ...]

    @property
    def attack(self) -> str:
        """The attack of the headline."""
        return self.attacks[0]

    def key(self, variant: Variant, metric: str | None = None) -> Key:
        """The headline's leakage, or another metric, of the strongest attacker of a variant."""
        return Key(variant, metric or self.metric, self.strongest.get(variant.name, ""), self.attack)

    def worst_key(self, variant: Variant) -> Key:
        """The worst case: the AUC of that slice's members and its own non-members, by the attacker strongest there.

        Rates at everybody's threshold cannot be compared between attackers: one whose shadow models are in full
        precision accuses the slice's non-members of a quantized model too.
        """
        return self.worst_rate(variant, SLICE)._replace(metric="auc")

    def worst_rate(self, variant: Variant, against: str = POOL) -> Key:
        """The headline's leakage on the worst slice, by the same attacker."""
        attacker = self.worst_strongest.get(variant.name, "")
        return Key(variant, self.metric, attacker, self.attack, self.worst, against)


@dataclass(frozen=True)
class Measures:
    """All of metrics.json.

    Args:
        audit: what was run, for the record.
        focus: what is looked at first.
        titles: of attacks, by name, where they have one.
        notes: what a reader would stumble over.
        means: means over targets of everything in results.csv that is a metric; utility has no attacker and attack.
        changes: from each variant's baseline (:attr:`Variant.baseline`), of the same.
        gaps: between the members that calibrated no quantizer and all members, by the key of the former.
        slices: how many examples each slice holds; of each target where these differ, at least.
        thresholds: fixed on shadow models.
        bounds: on privacy; the metric of the key is ``epsilon``.
        reachable: of rates that are bounded for each example alone.
        used: by attackers who hold several versions, such as the target and its parent.
        families: of methods whose precisions an attacker may hold together.
        standing: the per-example view of each variant whose shadows were quantized too, by its name.
        fronts: of the rivals in a study of several recipes.
        at_equal_accuracy: its quantized variants beside each front.
        draws: how variants differ between targets and repeats, where there are repeats.
    """

    audit: dict[str, Any]
    focus: Focus
    titles: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    means: dict[Key, TargetMean] = field(default_factory=dict)
    changes: dict[Key, Change] = field(default_factory=dict)
    gaps: dict[Key, SliceGap] = field(default_factory=dict)
    slices: dict[str, int] = field(default_factory=dict)
    thresholds: tuple[ShadowThreshold, ...] = ()
    bounds: dict[Key, PrivacyBounds] = field(default_factory=dict)
    reachable: dict[Key, Reachable] = field(default_factory=dict)
    used: dict[Key, Used] = field(default_factory=dict)
    families: tuple[Family, ...] = ()
    standing: dict[str, Standing] = field(default_factory=dict)
    fronts: tuple[Front, ...] = ()
    at_equal_accuracy: tuple[AtEqualAccuracy, ...] = ()
    draws: tuple[Draws, ...] = ()


def compared(low: float, high: float, with_what: float = 0.0) -> Verdict:
    """The verdict of an interval; "untested" where there is none, or nothing to compare it with.

    >>> compared(0.1, 0.3), compared(-0.3, -0.1), compared(0.0, 0.3), compared(nan, nan)
    ('higher', 'lower', 'unclear', 'untested')
    """
    if isnan(low) or isnan(high) or isnan(with_what):
        return "untested"
    return "higher" if low > with_what else "lower" if high < with_what else "unclear"


def write_measures(path: Path, measures: Measures) -> None:
    """Write metrics.json, a line for each record; NaN, "not measurable", is null."""
    parts = _encoder(Measures)(measures)
    lines = ",\n".join(f'"{name}": {_text(part)}' for name, part in parts.items())
    atomic_write_bytes(path, f"{{\n{lines}\n}}\n".encode())


def read_measures(path: Path, results: Results) -> Measures:
    """Read metrics.json.

    Args:
        path: of the file.
        results: the results.csv beside it, which knows the variants by their names.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged, of another version of lit_privq, or of another audit than the results.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; a report needs an audit's metrics.json, run `audit` first")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        variants = {variant.name: variant for variant in results.variants}
        measures: Measures = _decoded(Measures, content, variants)
        keys = {name: measures.focus.worst_key(variants[name]) for name in measures.focus.worst_family}
        alone = [name for name, key in keys.items() if key in measures.changes and isnan(measures.changes[key].holm)]
        if alone:
            raise ValueError(f"the worst case of {alone[0]}, whose AUC was not counted among the tests")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be written by this version's audit, together with results.csv; got {type(error).__name__} "
            f"at {error}; run `audit` again"
        ) from error
    return measures


def _text(part: object) -> str:
    """JSON with a line for each item of a list."""
    if isinstance(part, list) and part:
        return "[\n " + ",\n ".join(json.dumps(item, ensure_ascii=False) for item in part) + "\n]"
    return json.dumps(part, indent=1, ensure_ascii=False)


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The fields of a dataclass or named tuple and their types, in order."""
    return get_type_hints(kind)


@cache
def _encoder(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - of any type above
    """Makes the JSON tree of a value. A map by keys becomes a list of records that hold the fields of key and value."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is float:
        return lambda value: None if isnan(value) else value
    if kind is Variant:
        return lambda value: value.name
    if isinstance(kind, type) and (is_dataclass(kind) or kind is Key):
        fields = [(name, _encoder(hint)) for name, hint in _hints(kind).items()]
        return lambda value: {name: encode(getattr(value, name)) for name, encode in fields}
    if origin is tuple:
        item = _encoder(parts[0])
        return lambda value: [item(each) for each in value]
    if origin is dict and parts[0] is Key:
        key, item = _encoder(Key), _encoder(parts[1])
        return lambda value: [key(one) | item(other) for one, other in value.items()]
    if origin is dict:
        item = _encoder(parts[1])
        return lambda value: {str(name): item(each) for name, each in value.items()}
    return lambda value: value


def _decoded(kind: Any, tree: Any, variants: Mapping[str, Variant]) -> Any:  # noqa: ANN401 - the same
    """The value of a JSON tree."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is float:
        return nan if tree is None else float(tree)
    if kind is Variant:
        return variants[tree]
    if isinstance(kind, type) and (is_dataclass(kind) or kind is Key):
        return kind(**{name: _decoded(hint, tree[name], variants) for name, hint in _hints(kind).items()})
    if origin is tuple:
        return tuple(_decoded(parts[0], item, variants) for item in tree)
    if origin is dict and parts[0] is Key:
        return {_decoded(Key, item, variants): _decoded(parts[1], item, variants) for item in tree}
    if origin is dict:
        return {parts[0](name): _decoded(parts[1], item, variants) for name, item in tree.items()}
    return tree
