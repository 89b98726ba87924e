"""A release check: rules that no audited model may meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import isnan
from operator import ge, gt, le, lt

from lit_privq.artifacts.measures import Measures
from lit_privq.artifacts.results import ALL, POOL

_OPERATORS: dict[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
_RULE = re.compile(r"\s*(?P<metric>[\w.+-]+?)\s*(?P<operator>[<>]=?)\s*(?P<bound>\S+)\s*")


def read_rule(text: str) -> tuple[str, str, float]:
    """Metric, operator and number of a rule.

    Raises:
        ValueError: if it is none.

    >>> read_rule("tpr_at_0.001 > 0.02")
    ('tpr_at_0.001', '>', 0.02)
    """
    match = _RULE.fullmatch(text)
    try:
        bound = float(match["bound"]) if match else float("nan")
    except ValueError:
        bound = float("nan")
    if match is None or isnan(bound):
        raise ValueError(
            f"a rule is a metric, one of <, <=, >, >= and a number, such as tpr_at_0.001 > 0.02; got {text!r}"
        )
    return match["metric"], match["operator"], bound


def check(rules: Sequence[str], part: str, metrics: Mapping[str, Collection[str]], empty: Collection[str]) -> None:
    """Refuse, before an audit, rules that it could not check.

    Args:
        rules: what must not be.
        part: the slice that is looked at.
        metrics: of each slice, what the audit will measure.
        empty: those of them that will have no value for some target.

    Raises:
        ValueError: if there is no such slice, no such metric of it, or the metric will be empty.
    """
    if part not in metrics:
        known = ", ".join(name for name in metrics if name != ALL) or "none"
        raise ValueError(f"--slice names one of the audit's slices, {known}; got {part}")
    for rule in rules:
        metric = read_rule(rule)[0]
        if metric not in metrics[part]:
            raise ValueError(
                f"{rule!r} must name a metric of {part}, {', '.join(metrics[part])}; got {metric}; bounds on the "
                "false-positive rate are those of --max_fpr"
            )
        if metric in empty:
            raise ValueError(
                f"{rule!r} needs a value of {metric} for every model; a target has too few examples of {part}, or too "
                "few non-members, for one false positive; give a larger bound"
            )


def broken(measures: Measures, rules: Sequence[str], part: str = ALL) -> Iterator[str]:
    """A line for every variant that meets a rule, by the attacker and attack that meet it most clearly.

    Checked are the quantized variants, which are what is released, or all where none is quantized. ``epsilon`` is the
    largest lower bound of any target.

    Args:
        measures: of an audit.
        rules: what must not be.
        part: the slice that is looked at, before all non-members, or for epsilon its own.

    Raises:
        ValueError: if the audit has no value of such a metric.
    """
    quantized = any(key.variant.quantized for key in measures.means)
    values = {key: mean.value for key, mean in measures.means.items() if key.against == POOL}
    values |= {key: max(bounds.epsilon) for key, bounds in measures.bounds.items()}
    for rule in rules:
        metric, operator, bound = read_rule(rule)
        found = {
            key: value
            for key, value in values.items()
            if (key.metric, key.slice) == (metric, part) and (key.variant.quantized or not quantized)
        }
        if not found or any(isnan(value) for value in found.values()):
            metrics = ", ".join(dict.fromkeys(key.metric for key in values if key.slice == part))
            raise ValueError(f"{rule!r} needs a value of {metric} for every model; the metrics of {part} are {metrics}")
        choose = max if operator.startswith(">") else min
        for variant in dict.fromkeys(key.variant for key in found):
            key = choose((key for key in found if key.variant == variant), key=lambda key: found[key])
            if _OPERATORS[operator](found[key], bound):
                who = f"{key.attacker} attacker, {key.attack}" if key.attack else "test set"
                where = "" if part == ALL else f" of {part}"
                yield f"{variant.name}: {metric}{where} is {found[key]:.4g} ({who}), {operator} {bound:g}"
