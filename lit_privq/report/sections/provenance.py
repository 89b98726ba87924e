"""Where the numbers come from: study.json, as much of it as is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.section import Section
from lit_privq.report.view import View

_FACTS = {
    "started": "Started",
    "commit": "Commit",
    "dataset": "Data set",
    "net": "Network",
    "n_shadows": "Shadow models",
    "n_targets": "Target models",
    "seed": "Training seed",
    "split_seed": "Membership seed",
}
_OPEN = frozenset(
    {"command", "versions", "choices", "seconds", "titles", "recipes", "families"}
)  # shown in their own form


@dataclass(frozen=True)
class StageTime:
    """How long one stage took, and its share of the longest, in percent."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Provenance:
    """What the foot of the page says.

    Args:
        command: the exact command, empty if unknown.
        facts: name and value, in reading order.
        stages: timings, in the order they ran.
        rest: everything else in study.json, as JSON; empty if nothing is left.
    """

    command: str
    facts: tuple[tuple[str, str], ...]
    stages: tuple[StageTime, ...]
    rest: str


def section(view: View, inputs: Inputs) -> Section:
    """Always there: the page names the files beside it."""
    return Section("provenance", "Where it comes from", {"provenance": provenance(inputs.study)})


def provenance(study: Mapping[str, Any]) -> Provenance:
    """Put a study.json in reading order; keys that are missing are left out, keys that are not known come last."""
    asked = study.get("study")
    known = {**(asked if isinstance(asked, Mapping) else {}), **study}  # seeds may stand with what was asked for
    facts = [(name, str(known[key])) for key, name in _FACTS.items() if known.get(key) is not None]
    facts += [("Versions", _listed(study.get("versions"))), ("Chosen by measurement", _listed(study.get("choices")))]
    rest = {key: value for key, value in study.items() if key not in _FACTS and key not in _OPEN}
    return Provenance(
        command=str(study.get("command", "")),
        facts=tuple((name, value) for name, value in facts if value),
        stages=_stages(study.get("seconds")),
        rest=json.dumps(rest, indent=2, ensure_ascii=False) if rest else "",
    )


def _listed(values: object) -> str:
    """A mapping in one line, or whatever else is there."""
    if isinstance(values, Mapping):
        return ", ".join(
            f"{name} ({_listed(value)})" if isinstance(value, Mapping) else f"{name} {value}"
            for name, value in values.items()
        )
    return str(values) if values else ""


def _stages(seconds: object) -> tuple[StageTime, ...]:
    """Timings as bars; those that are no numbers are left out."""
    if not isinstance(seconds, Mapping):
        return ()
    timed = {str(name): float(value) for name, value in seconds.items() if isinstance(value, int | float)}
    longest = max(timed.values(), default=0.0) or 1.0
    return tuple(StageTime(name, value, 100 * value / longest) for name, value in timed.items())
