"""A change from full precision in words and in a table, as the audit judged it."""

from __future__ import annotations

from math import isnan

from lit_privq.artifacts.measures import Change, OwnChange, Verdict
from lit_privq.report.table import EMPTY, PageCell
from lit_privq.report.words import POINTS, Step, counted, p_value

_VERBS: dict[Verdict, str] = {"lower": "lowers", "higher": "raises"}
_SIDES: dict[Verdict, str] = {"lower": "below", "higher": "above"}


def phrase(change: Change, step: Step = POINTS, tests: int = 1, what: str = "leakage") -> str:
    r"""A change of leakage as a verb and what follows, for other targets and, where these agree, in each of these.

    Args:
        change: as the audit judged it.
        step: how a difference is written.
        tests: how many are counted in Holm's correction.
        what: changes.

    >>> phrase(Change(-0.02, -0.03, -0.01, 0.002, 0.002, "lower", "lower"))
    'lowers leakage by 2.0 points (1.0 to 3.0), p\xa0=\xa00.002'
    >>> phrase(Change(0.001, -0.01, 0.01, 0.8, 1.0, "unclear", "unclear"), tests=2)
    'changes leakage by +0.1 points (−1.0 to +1.0), p\xa0=\xa00.8: no difference shown for other targets'
    """
    if change.verdict == "untested":
        return _in_this_target(change.each[0], step, what)
    p = p_value(change.p)
    if change.alone != "unclear" and tests > 1:
        p += f" taken alone, {p_value(change.holm)} with all {tests} tests counted"
    if change.verdict != "unclear":
        return f"{_moves(change, step, what)}, {p}"
    return f"{_changes(change, step, what)}, {p}: no difference shown for other targets{_agreement(change)}"


def change_cell(change: Change | None, step: Step = POINTS, *, p: bool = False) -> PageCell:
    """A change with its interval, and perhaps its p-value, below; strong where the audit calls it a difference.

    A single target has the interval of its examples, and is never called a difference.
    """
    if change is None or isnan(change.value):
        return EMPTY
    text = f"{step.signed(change.value)}{step.unit}"
    if change.verdict == "untested":
        return PageCell(text, _ends(change.each[0], step) if change.each else "")
    note = _ends(change, step) + (f", {p_value(change.p)}" if p else "")
    shown = change.verdict != "unclear"
    return PageCell(text, note if shown else f"{note}: unclear", shown)


def _moves(change: Change | OwnChange, step: Step, what: str) -> str:
    """A difference that is one."""
    near, far = sorted((abs(change.low), abs(change.high)))
    by = f"by {step.size(abs(change.value))}{step.unit} ({step.size(near)} to {step.size(far)})"
    return f"{_VERBS[change.verdict]} {what} {by}"


def _changes(change: Change | OwnChange, step: Step, what: str) -> str:
    """A difference that may be none."""
    ends = _ends(change, step)
    return f"changes {what} by {step.signed(change.value)}{step.unit}" + (f" ({ends})" if ends else "")


def _ends(change: Change | OwnChange, step: Step) -> str:
    """The interval; empty where there is none."""
    return "" if isnan(change.low) else f"{step.signed(change.low)} to {step.signed(change.high)}"


def _in_this_target(own: OwnChange, step: Step, what: str) -> str:
    """What one target says, which is nothing of others."""
    if own.verdict in _VERBS:
        return f"{_moves(own, step, what)} in this target; others are another question"
    return f"{_changes(own, step, what)} in this target" + (": no difference shown" if own.verdict == "unclear" else "")


def _agreement(change: Change) -> str:
    """That all of these targets change alike, each by its own interval, though others may not."""
    for verdict, side in _SIDES.items():
        if change.agreed(verdict):
            return f"; each of these {counted(len(change.each), 'target')} is {side} full precision by its own interval"
    return ""
