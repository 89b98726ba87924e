"""What a study finds out before its plan: its facts, and how many models its jobs train at once."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_privq.artifacts.config import config_tree
from lit_privq.study.engine import log_of
from lit_privq.study.engines import resources_of
from lit_privq.study.plan import Fleets, shared_options, training_recipe
from lit_privq.study.recipe import recipe
from lit_privq.study.study_file import Recipe, Study
from lit_privq.study.tasks import Hooks
from lit_privq.study.workers import Call, Outcome

Caller = Callable[[Call], Outcome]
"""Makes one call and waits for its end, on a worker: the machine of a study's command may have no GPU."""


def settled(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], caller: Caller, hooks: Hooks
) -> dict[str, Any]:
    """Facts and choices, as a record keeps them; those of an earlier start where their questions are the same.

    Args:
        study: what `read_study` returned.
        options: of the command line, with ``output``, ``data_root``, ``jobs`` and ``fleet``.
        earlier: record of the last start, empty if this is the first.
        caller: that looks and measures.
        hooks: what it calls.

    Raises:
        ValueError: if the data, the network or a method do not fit, or nothing can be measured.
    """
    found = _facts(study, options, earlier, caller, hooks.facts)
    names = {key: found["facts"][key] for key in ("dataset", "net", "titles")}
    return names | found | _all_chosen(study, options, earlier, caller, hooks.choose)


def without_equal_repeats(study: Study, facts: Mapping[str, Any]) -> Study:
    """The study in which methods that would give the same result again are not repeated; says which, on stderr.

    Args:
        study: what `read_study` returned.
        facts: of its methods; those of earlier versions do not know them.
    """
    fixed = facts.get("fixed", [])
    for name in dict.fromkeys(row.name for row in study.quantize if row.name in fixed and row.repeats > 1):
        print(f"{name} has no randomness, and no calibration examples: it is not repeated", file=sys.stderr)
    rows = [replace(row, repeats=1) if row.name in fixed else row for row in study.quantize]
    return replace(study, quantize=rows)


def overrides(study: Study, options: argparse.Namespace) -> list[str]:
    """Options of a training, as the study and its command give them."""
    return [*shared_options(study), *(["--data.root", str(options.data_root)] if options.data_root else [])]


def fleets_of(study: Study, record: Mapping[str, Any]) -> Fleets:
    """The fleets of all recipes, from a record of what was chosen for each."""
    chosen = {name: one["choices"] for name, one in _by_recipe(study, record).items()}
    first, *others = study.recipes
    return Fleets(chosen[first.name]["size"], {name: chosen[one.name]["size"] for one in others for name in one.names})


def kept_choices(study: Study, one: Recipe, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What an earlier start chose for a recipe, None if its question was another or its record is unusable."""
    known = _by_recipe(study, record)[one.name]
    choices = known.get("choices")
    usable = isinstance(choices, dict) and isinstance(choices.get("size"), int)
    return choices if usable and known.get("chosen_for") == _question(study, one) else None


def as_record(study: Study, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Choices of all recipes as a record keeps them: the first one's by themselves, as before there were others."""
    first, *others = study.recipes
    return {**chosen[first.name]} | (
        {"recipe_choices": {one.name: chosen[one.name] for one in others}} if others else {}
    )


def _by_recipe(study: Study, record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a record holds of the choices for each recipe, by name; nothing where it was not chosen yet."""
    others = record.get("recipe_choices")
    kept = others if isinstance(others, dict) else {}
    return {study.recipes[0].name: record} | {one.name: kept.get(one.name, {}) for one in study.recipes[1:]}


def _question(study: Study, recipe: Recipe) -> str:
    """Digest of what a choice of fleets depends on; another question needs another answer."""
    fleet = study.fleet if recipe.fleet is None else recipe.fleet
    return _digest([fleet, training_recipe(study, recipe.shadow)])


def _digest(question: object) -> str:
    return hashlib.blake2b(json.dumps(question, default=str).encode(), digest_size=8).hexdigest()


def _facts(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], caller: Caller, function: str
) -> dict[str, Any]:
    """Names and sizes of data, network and methods."""
    methods = [
        [row.name, row.bits, row.recipes, recipe("quantize", config_tree(Path(row.method)))] for row in study.quantize
    ]
    question = _digest(
        [{name: training_recipe(study, one.shadow) for one in study.recipes for name in one.names}, methods]
    )
    if earlier.get("facts_for") == question and isinstance(earlier.get("facts"), dict):
        return {"facts": earlier["facts"], "facts_for": question}
    log = log_of("facts", options.output)
    outcome = caller(Call("facts", function, (study, overrides(study, options)), log))
    if outcome.error:
        raise ValueError(f"{outcome.error} (see {log})")
    return {"facts": outcome.value, "facts_for": question}


def _all_chosen(
    study: Study, options: argparse.Namespace, earlier: Mapping[str, Any], caller: Caller, choose: str
) -> dict[str, Any]:
    """The choices for each recipe; a recipe that is added changes none of the others'."""
    given = options.fleet or [None] * len(study.recipes)
    if len(given) != len(study.recipes):
        raise ValueError(f"--fleet needs a number for each of {len(study.recipes)} recipes; got {len(given)}")
    chosen = {
        one.name: {
            "choices": kept_choices(study, one, earlier) or _chosen(study, one, options, fleet, caller, choose),
            "chosen_for": _question(study, one),
        }
        for one, fleet in zip(study.recipes, given, strict=True)
    }
    return as_record(study, chosen)


def _chosen(
    study: Study, one: Recipe, options: argparse.Namespace, given: int | None, caller: Caller, choose: str
) -> dict[str, Any]:
    """The choices of the first start, which are kept: other fleets could change the last digits of the results."""
    if size := given or study.fleet_of(one):
        choices = {"size": size, "why": "--fleet says so" if given else "the study file says so"}
    else:
        log = log_of("choose", options.output)
        arguments = (one.shadow, overrides(study, options), None, options.jobs)
        needed = resources_of({}, study.resources)["train"]  # a GPU, as this is what is measured
        outcome = caller(Call("choose", choose, arguments, log, needed))
        if outcome.error:
            raise ValueError(
                f"the fleets could not be chosen: {outcome.error}; see {log}, or set fleet: in the study file"
            )
        choices = outcome.value
    how = f", {choices['how']}" if choices.get("how", "alone") != "alone" else ""
    which = f"{one.name}: " if len(study.recipes) > 1 else ""
    print(f"{which}{choices['size']} models at once{how}: {choices['why']}", file=sys.stderr)
    return choices


def in_this_process(call: Call) -> Outcome:
    """Make a call here; what it prints, it prints here, and what it raises is the caller's."""
    module, function = call.function.split(":")
    return Outcome(getattr(importlib.import_module(module), function)(*call.arguments))
