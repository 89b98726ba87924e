"""Titles of figures: what each of them shows in a few words, by the audit's verdicts and nothing beyond them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lit_privq.artifacts.measures import LEVEL, Change, Rate, Verdict
from lit_privq.artifacts.results import ALL, Key
from lit_privq.artifacts.variant import Variant
from lit_privq.report.table import attackers
from lit_privq.report.view import View
from lit_privq.report.words import counted, decimals, joined, measure, percent, spaced, width


def tradeoff(view: View) -> str:
    """Which saving costs least, or that none is clear."""
    best = next((v for v in view.shown if v.name == (view.focus.least_costly or view.focus.largest)), None)
    lower = [best] if best else _lower(view, view.saving)
    if lower:
        return f"{_subject(view, lower)} {_verb(lower, 'leak')} less{_price(view, best)}{_where(view)}"
    if not any(map(view.saving, view.results.variants)):
        return attack(view, view.attack)
    return f"No {_thing(view)} leaks clearly less{_where(view)}"


def _price(view: View, variant: Variant | None) -> str:
    """What a saving costs, as the end of a title."""
    cost, step, name = view.cost(variant) if variant else None, view.utility.step, view.utility.name
    if cost is None or cost.verdict not in ("lower", "unclear"):
        return ""
    if cost.verdict == "unclear":
        return f", at no clear cost in {name}"
    return f" and costs {step.size(-cost.value)}{step.unit} of {name}"


def average_and_worst(view: View) -> str:
    """Whether what lowers the average also lowers the worst case."""
    average, worst = _lower(view, view.saving), _lower(view, view.worst_saving)
    both, whom, where = [v for v in average if v in worst], spaced(view.focus.worst), _where(view)
    whom = whom if whom.endswith("s") else f"the {whom}"
    if both:
        return f"{_subject(view, both)} {_verb(both, 'leak')} less, of {whom} too{where}"
    if average and worst:
        return (
            f"{_subject(view, average)} {_verb(average, 'leak')} less on average, {_subject(view, worst)} less of "
            f"{whom}{where}"
        )
    if worst:
        return f"{_subject(view, worst)} {_verb(worst, 'leak')} less of {whom}, not clearly on average{where}"
    if average:
        after = "stay exposed" if _exposed(view, average) else "are not clearly safer"
        return f"{_subject(view, average)} {_verb(average, 'leak')} less, {whom} {after}{where}"
    return f"No {_thing(view)} clearly lowers the AUC among {whom}{where}"


def attack(view: View, name: str) -> str:
    """How much an attack finds beside random guessing, at full precision or on the first model."""
    first = view.results.variants[0]
    keys = (Key(first, view.metric, attacker, name) for attacker in view.results.attackers(first))
    means = [view.measures.means[key] for key in keys if view.rate(key)]
    title, on = view.attack_title(name), f"at {_low(view.label(first))}" if not first.quantized else "here"
    if not means:
        return title
    most = max(means, key=lambda mean: mean.value)
    verdict = most.these if most.targets == 1 else most.verdict
    if verdict == "unclear":
        return f"{title} does not clearly beat random guessing {on}"
    if verdict == "untested" or view.bound is None:
        area = "" if view.bound else "an AUC of "
        return f"{title} reaches {area}{percent(most.value, decimals(view.bound))} {on}"
    return f"{title} finds {most.value / view.chance:.1f} times as many as chance {on}"


def utility(view: View) -> str:
    """How many variants clearly lose accuracy, or R²."""
    compared = [variant for variant in view.shown if view.cost(variant)]
    worse = [variant for variant in compared if _is(view.cost(variant), "lower")]
    if not compared:
        return view.utility.heading
    if not worse:
        return f"No {_thing(view)} clearly costs {view.utility.name}{_where(view)}"
    return f"{_subject(view, worse)} clearly {_verb(worse, 'lose')} {view.utility.name}{_where(view)}"


def strongest(view: View) -> str:
    """Whose best attack finds most on most models."""
    first = [next(iter(view.focus.best[variant.name].items()), None) for variant in view.shown]
    several = len(attackers(view.results)) > 1
    names = [f"The {who} attacker" if several else view.attack_title(how) for who, how in filter(None, first)]
    most = max(names, key=names.count)
    return f"{most} finds most{f' on {names.count(most)} of {len(names)} models' if len(names) > 1 else ''}"


def changes(view: View) -> str:
    """How many changes of leakage are clear, of all that were tested."""
    lower, higher = _lower(view, view.saving), [v for v in view.shown if _is(view.saving(v), "higher")]
    sides = (some for some in ((lower, "less"), (higher, "more")) if some[0])
    told = [f"{_subject(view, some)} {_verb(some, 'leak')} {how}" for some, how in sides]
    tests = len(view.focus.family)
    counting = f", all {tests} tests counted" if tests > 1 else ""
    return f"{joined(told) if told else 'No change of leakage is clear'}{counting}{_where(view)}"


def at_equal_accuracy(view: View, part: str) -> str:
    """How often compressed models (quantized, or pruned) leak less, or more, than rivals as accurate as they are."""
    found = [one for one in view.measures.at_equal_accuracy if (one.slice, one.place) == (part, "inside")]
    sides = {"less": "lower", "more": "higher"}
    counts = {how: sum(one.change.verdict == verdict for one in found) for how, verdict in sides.items()}
    told = joined([f"{how} in {count}" for how, count in counts.items() if count])
    whom = "" if part == ALL else f" for {spaced(part)}"
    if not found:
        return f"No rival is as accurate as a compressed model{whom}"
    if not told:
        return f"No clear difference at equal accuracy{whom}"
    return f"At equal accuracy compressed models leak {told} of {counted(len(found), 'comparison')}{whom}"


def draws(view: View, runs: int) -> str:
    """Whether runs fall into clusters."""
    apart = [one for one in view.measures.draws if one.dip_p < LEVEL]
    if not apart:
        return f"{counted(runs, 'run')} show no two clusters"
    named = {variant.name: view.label(variant) for variant in view.results.variants}
    whose = joined(list(dict.fromkeys(named[one.variant] for one in apart)))
    measured = [view.utility.name if one.metric == view.utility.metric else measure(view.bound) for one in apart]
    return f"Runs of {whose} form clusters in {joined(list(dict.fromkeys(measured)))}"


def by_class(what: str, rates: Mapping[str, Mapping[Variant, Rate]]) -> str:
    """The range over classes of the first variant."""
    first = next(iter(next(iter(rates.values()))))
    known = {name: each[first].value for name, each in rates.items() if first in each}
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return f"{what}: {percent(known[low])} (class {low}) to {percent(known[high])} (class {high})"


def curves(view: View, bits: float, variants: Sequence[Variant]) -> str:
    """The areas under the curves at a precision, beside full precision."""
    found = {v: view.measures.means.get(view.focus.key(v, "auc")) for v in variants}
    areas = {v: mean.value for v, mean in found.items() if mean is not None}
    own = [area for v, area in areas.items() if v.bits == bits]
    name = "Full precision" if bits == 32 else width(bits)
    if not own:
        return name
    span = " to ".join(dict.fromkeys(f"{area:.2f}" for area in (min(own), max(own))))
    full = areas.get(view.results.full_precision) if view.results.full_precision else None
    beside = f", full precision {full:.2f}" if full is not None and bits != 32 else ""
    return f"{name}: AUC {span}{beside}"


def _lower(view: View, change: Callable[[Variant], Change | None]) -> list[Variant]:
    """The variants of use whose change is a clear saving."""
    return [variant for variant in view.shown if _is(change(variant), "lower")]


def _is(change: Change | None, verdict: Verdict) -> bool:
    """What the audit says for other targets; of a single target by its own interval."""
    return change is not None and (change.verdict == verdict or (len(change.each) == 1 and change.agreed(verdict)))


def _exposed(view: View, variants: Sequence[Variant]) -> bool:
    """Whether the worst case of all of them is above random guessing."""
    means = [view.measures.means.get(view.focus.worst_key(variant)) for variant in variants]
    return all(mean and (mean.these if mean.targets == 1 else mean.verdict) == "higher" for mean in means)


def _subject(view: View, variants: Sequence[Variant]) -> str:
    """One variant or two by name; more by their bits where every method at these is meant, else by their number."""
    if len(variants) < 3:
        return joined([view.label(variant) for variant in variants])
    compared = [variant for variant in view.shown if variant != view.results.full_precision]
    most = max(variant.bits for variant in variants)
    if most < max(v.bits for v in compared) and variants == [v for v in compared if v.bits <= most]:
        return f"{width(most)} or fewer"
    return f"{len(variants)} of {len(compared)} {'models' if len(view.results.recipes) > 1 else 'quantized models'}"


def _thing(view: View) -> str:
    return "model" if len(view.results.recipes) > 1 else "precision"


def _where(view: View) -> str:
    """That nothing is said of other targets, where there is one."""
    return " in this target" if len(view.results.targets) == 1 else ""


def _verb(subjects: Sequence[object], verb: str) -> str:
    return f"{verb}s" if len(subjects) == 1 else verb


def _low(text: str) -> str:
    """A label within a sentence; a name with capitals of its own, such as ResNet-18, keeps them."""
    return text[:1].lower() + text[1:] if text.partition(" ")[0][1:].islower() else text
