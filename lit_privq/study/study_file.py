"""The study file: which configs, how many models, which methods at which bits."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jsonargparse

from lit_privq.artifacts.config import config_tree, read_tree
from lit_privq.artifacts.variant import SEEDS_PER_DRAW, Variant, precisions

DEFAULT = "default"
"""The recipe of a study that names only one ``shadow``."""


@dataclass(frozen=True)
class Recipe:
    """How float models are trained: network, optimizer, epochs, defence.

    Args:
        name: in file names, tables and W&B.
        shadow: config that trains a model.
        title: as people write it; where left out the name, and nothing for the first one of a study, the baseline.
        early: recipes that are this one stopped early, name: epochs; checkpoints of the same training.
        fleet: models per process, where that is not the study's.
        family: as people write it. Recipes of one family, such as noise levels of DP-SGD, are points of one front where
            rivals are compared at equal accuracy; where left out a recipe and its early stops are one.
    """

    name: str
    shadow: str
    title: str = ""
    early: dict[str, int] = field(default_factory=dict)
    fleet: Literal["auto"] | int | None = None
    family: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its own, and those of the recipes that are stopped early."""
        return self.name, *self.early


@dataclass(frozen=True)
class MethodRow:
    """One quantization method at several precisions.

    Args:
        method: config of the method; its file name names the method.
        bits: numbers, or maps from layer patterns to numbers, in which ``last`` is the last layer, 32 leaves a layer
            in float, and ``name`` names the map on disk and in tables.
        adaptive: whether the shadows are quantized too, for an attacker who does as the owner does.
        recipes: names of those whose models are quantized; the study's first where left out.
        repeats: how often each target is quantized, with seeds of its own each time; every two share a draw of the
            calibration examples. Attackers quantize their shadows once.
    """

    method: str
    bits: list[float | dict[str, float | str]]
    adaptive: bool = True
    recipes: list[str] = field(default_factory=list)
    repeats: int = 1

    @functools.cached_property  # asked for with every job of a large study
    def name(self) -> str:
        """Name of the method."""
        return Path(self.method).stem

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The row's variants of one recipe, the study's first; one per precision."""
        return tuple(Variant.of(self.name, bits) for bits in self.bits)


@dataclass(frozen=True)
class Study:
    """What is trained, quantized, queried and audited; all paths relative to the study file.

    Args:
        name: groups the runs in Weights & Biases.
        recipes: how models are trained, the baseline first; ``shadow: CONFIG`` is short for one, called ``default``.
        query: config that queries a model.
        audit: config of the audit.
        n_shadows: even, so that every example trains exactly half of the shadows.
        n_targets: models under attack, with halves of their own.
        quantize: the methods and their precisions.
        fleet: models per process, or ``auto`` to measure it at the first start.
        split_seed: of the memberships; the data config's where left out.
        seed: of the training noise; the shadow config's where left out.
        trust: packages whose code checkpoints may name, beside those that the shadow config itself names.
        on_divergence: whether a model that comes to hold NaN or infinity stops the study, or is left out of it.
        resources: of a job of each stage, for Ray and SLURM: ``cpus``, ``gpu`` (a share) and ``memory`` (GiB).
    """

    name: str
    recipes: list[Recipe]
    query: str
    audit: str
    n_shadows: int
    n_targets: int
    quantize: list[MethodRow]
    fleet: Literal["auto"] | int = "auto"
    split_seed: int | None = None
    seed: int | None = None
    trust: list[str] = field(default_factory=list)
    on_divergence: Literal["stop", "leave_out"] = "stop"
    resources: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def n_models(self) -> int:
        """Shadows and targets together."""
        return self.n_shadows + self.n_targets

    @property
    def shadow(self) -> str:
        """Config that trains a model by the first recipe."""
        return self.recipes[0].shadow

    @property
    def recipe_names(self) -> tuple[str, ...]:
        """Names of all recipes, each followed by those that are the same stopped early."""
        return tuple(name for recipe in self.recipes for name in recipe.names)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Whatever is audited: recipe by recipe, full precision first."""
        return tuple(variant for name in self.recipe_names for variant in (self.trained(name), *self._made_of(name)))

    @property
    def titles(self) -> dict[str, str]:
        """Recipes as people write them, by name; empty for the baseline where its file gives it no title."""
        titles: dict[str, str] = {}
        for recipe in self.recipes:
            named = recipe.name[0].upper() + recipe.name[1:].replace("_", " ")
            titles[recipe.name] = recipe.title or (named if titles else "")
            of = f"{titles[recipe.name]}, " if titles[recipe.name] else ""
            titles |= {name: f"{of}{epochs} epoch{'s' * (epochs > 1)}" for name, epochs in recipe.early.items()}
        return titles

    @property
    def families(self) -> dict[str, str]:
        """What people call the family of each recipe, by the recipe's name."""
        named: dict[str, str] = {}
        for recipe in self.recipes:
            title = self.titles[recipe.name]
            stopped = f"{title}, stopped early" if title else "Stopped early"
            named |= dict.fromkeys(recipe.names, recipe.family or (stopped if recipe.early else title or recipe.name))
        return named

    def fleet_of(self, recipe: Recipe) -> int | None:
        """Models at once of a recipe, None where that is to be measured."""
        fleet = self.fleet if recipe.fleet is None else recipe.fleet
        return None if fleet == "auto" else fleet

    def trained(self, name: str) -> Variant:
        """The full-precision variant of a recipe."""
        return Variant("none", 32, 32, recipe=self._spelt(name))

    def quantized(self, row: MethodRow, name: str) -> tuple[Variant, ...]:
        """What a row makes of a recipe's models, repeats left out."""
        return tuple(replace(variant, recipe=self._spelt(name)) for variant in row.variants)

    def repeated(self, row: MethodRow, name: str) -> Iterator[tuple[Variant, ...]]:
        """The same once more for every repeat."""
        for repeat in range(1, row.repeats):
            yield tuple(replace(variant, repeat=repeat) for variant in self.quantized(row, name))

    def _made_of(self, name: str) -> Iterator[Variant]:
        """Whatever is made of a recipe's models."""
        for row in self.quantize:
            if name in row.recipes:
                yield from self.quantized(row, name)
                yield from itertools.chain(*self.repeated(row, name))

    def _spelt(self, name: str) -> str:
        """A recipe in the name of a variant: the first is not spelt."""
        return "" if name == self.recipes[0].name else name


def read_study(path: Path) -> Study:
    """A checked study, its paths made relative to where the reader stands.

    Raises:
        ValueError: for a misspelt key or a value that cannot be meant, in one sentence.
        FileNotFoundError: if the file, or a config it names, does not exist.
    """
    tree = read_tree(path)
    if "experiments" in tree:
        raise ValueError(
            f"{path} is a study of the MIS indicator; run it with python -m lit_privq indicator --config {path}"
        )
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study)
    try:
        fields = parser.parse_object(_with_recipes(tree, path)).as_dict()
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{path}: {_sentence(str(error))}") from None
    recipes = [Recipe(**{**each, "shadow": _beside(path, each["shadow"])}) for each in fields["recipes"]]
    _check_recipes(recipes, path)
    first = {"recipes": [recipes[0].name]}
    rows = [
        MethodRow(**{**row, "method": _beside(path, row["method"])} | ({} if row["recipes"] else first))
        for row in fields["quantize"]
    ]
    configs = {key: _beside(path, fields[key]) for key in ("query", "audit")}
    study = Study(**{**fields, **configs, "recipes": recipes, "quantize": rows})
    _check(study, path)
    return study


def _with_recipes(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """A study's tree in which ``shadow``, short for one recipe, is written out."""
    if ("shadow" in tree) == ("recipes" in tree):
        got = "both" if "shadow" in tree else "neither"
        raise ValueError(
            f"{path}: it must say how models are trained, shadow: CONFIG or recipes: [{{name: {DEFAULT}, shadow: "
            f"CONFIG}}, ...]; got {got}"
        )
    if "recipes" in tree:
        return tree
    others = {key: value for key, value in tree.items() if key != "shadow"}
    return {**others, "recipes": [{"name": DEFAULT, "shadow": tree["shadow"]}]}


def _beside(path: Path, name: str) -> str:
    """A path written relative to a file, as seen from here; it must exist."""
    file = os.path.normpath(path.parent / name)
    if not Path(file).is_file():
        raise FileNotFoundError(
            f"{path} names {name}, but there is no {file}; correct the path (relative to the study)"
        )
    return file


def _check(study: Study, path: Path) -> None:
    """Raise for values of the right type that cannot be meant."""
    n = study.n_shadows
    if n < 2 or n % 2:
        use = f"{n - 1} or {n + 1}" if n > 2 else "at least 2"
        raise ValueError(
            f"{path}: n_shadows must be even, so that each example trains half of the shadows; got {n}, use {use}"
        )
    if study.n_targets < 1:
        raise ValueError(
            f"{path}: n_targets must be at least 1, there is nothing to attack without; got {study.n_targets}"
        )
    for fleet in (study.fleet, *(recipe.fleet for recipe in study.recipes)):
        if isinstance(fleet, int) and fleet < 1:
            raise ValueError(f"{path}: fleet must be auto or at least 1 model per process; got {fleet}")
    for row in study.quantize:
        _check_bits(row, path)
        if row.repeats < 1 or (row.repeats > 1 and row.repeats % SEEDS_PER_DRAW):
            use = f"{row.repeats + 1}" if row.repeats > 1 else "1"
            raise ValueError(
                f"{path}: repeats of {row.name} must be 1 or even, as every two share a draw of the calibration "
                f"examples; got {row.repeats}, use {use}"
            )
        if unknown := [name for name in row.recipes if name not in study.recipe_names]:
            raise ValueError(
                f"{path}: {row.name} quantizes recipes of this study, {', '.join(study.recipe_names)}; got "
                f"{', '.join(unknown)}, correct its recipes"
            )
    _check_data(study, path)
    _check_names(study, path)


def _check_recipes(recipes: Sequence[Recipe], path: Path) -> None:
    """Refuse names that are no file names or used twice, and early stops that are none."""
    if not recipes:
        raise ValueError(f"{path}: recipes must name one at least, such as {{name: {DEFAULT}, shadow: CONFIG}}; got []")
    names = [name for recipe in recipes for name in recipe.names]
    for name in names:
        named = Variant("none", 32, 32, recipe=name)
        if not name or named != _read_back(named):
            raise ValueError(
                f"{path}: a recipe's name is part of file names, letters, digits and the signs _ . - behind the first; "
                f"got {name!r}, choose another, and write what people shall read as its title"
            )
        if names.count(name) > 1:
            raise ValueError(f"{path}: every recipe must have a name of its own; got {name} twice, rename one of them")
    for recipe in recipes:
        epochs = (config_tree(Path(recipe.shadow)).get("trainer") or {}).get("max_epochs") if recipe.early else None
        for name, stop in recipe.early.items():
            if stop < 1 or (epochs is not None and stop >= epochs):
                raise ValueError(
                    f"{path}: {name} stops {recipe.name} early, after 1 epoch at least and before the last of "
                    f"{epochs}; got {stop}, correct early"
                )


def _check_data(study: Study, path: Path) -> None:
    """Refuse recipes of different pools: an example must be the same in all, and a member of the same models."""
    first, *others = study.recipes
    ours = _data(first, study)
    for recipe in others:
        theirs = _data(recipe, study)
        if ours != theirs:
            key, mine, other = _first_difference("data", ours, theirs)
            raise ValueError(
                f"{path}: all recipes must have the same {key}, their models are compared example by example; "
                f"{recipe.name} has {other}, {first.name} has {mine}: name one data config in both"
            )


def _first_difference(key: str, ours: object, theirs: object) -> tuple[str, object, object]:
    """The innermost option in which two configs differ, and what it is in each."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return key, ours, theirs
    first = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return _first_difference(f"{key}.{first}", ours.get(first), theirs.get(first))


def _data(recipe: Recipe, study: Study) -> dict[str, object]:
    """What says which examples there are, and which of them train which model."""
    data = config_tree(Path(recipe.shadow)).get("data") or {}
    split = data.get("split_seed") if study.split_seed is None else study.split_seed
    return {"dataset": data.get("dataset"), "split_seed": split}


def _check_bits(row: MethodRow, path: Path) -> None:
    """Refuse precisions that no quantizer has."""
    must = f"{path}: bits of {row.name} must be numbers from 1 to 8, such as [4, 2, 1.58]"
    if not row.bits or {} in row.bits:
        raise ValueError(f"{must}; got {row.bits}")
    for bits in row.bits:
        try:
            numbers = precisions(bits)
        except ValueError:
            raise ValueError(f"{must}, or maps from layers to such numbers; got {bits}") from None
        in_float = [32] if len(numbers) > 1 else []
        if wrong := [number for number in numbers.values() if not 1 <= number <= 8 and number not in in_float]:
            raise ValueError(f"{must}, or 32 in a map for a layer that stays float; got {wrong[0]:g}")


def _check_names(study: Study, path: Path) -> None:
    """Refuse what would be written to the same folders, or could not be read back from them."""
    files: dict[str, str] = {}
    seen: list[tuple[str, object]] = []
    for row in study.quantize:
        if files.setdefault(row.name, row.method) != row.method:
            raise ValueError(
                f"{path}: methods are named by their files, and {files[row.name]} and {row.method} are both "
                f"{row.name}; rename one of them"
            )
        for recipe in row.recipes:
            for bits, variant in zip(row.bits, study.quantized(row, recipe), strict=True):
                if not variant.quantized or variant != _read_back(variant):
                    raise ValueError(
                        f"{path}: the name of a map must be a word that starts with a letter, and no method is named "
                        f"none; got {variant.name}, choose another name"
                    )
                meaning = (recipe, row.name, tuple(precisions(bits).items()))
                if any(variant.name == name or meaning == other for name, other in seen):
                    remedy = "; two different maps need a name each" if variant.layers else ""
                    raise ValueError(
                        f"{path}: every method and precision must be listed once; {variant.name} occurs again{remedy}"
                    )
                seen.append((variant.name, meaning))


def _read_back(variant: Variant) -> Variant | None:
    """What a variant's name tells, None if it tells nothing."""
    try:
        return Variant.parse(variant.name)
    except ValueError:
        return None


def _sentence(problem: str) -> str:
    """What jsonargparse says in many lines, said in one.

    >>> _sentence("Option 'n_shadow' is not accepted")[:60]
    'n_shadow is not a key here; the keys are name, shadow or rec'
    """
    keys = re.findall(r"(?:Parser key|Option) [\"'](\w+)", problem)
    owner = {"quantize": MethodRow, "recipes": Recipe}.get(keys[0], Study) if len(keys) > 1 else Study
    types = {field.name: str(field.type) for field in dataclasses.fields(owner)}
    value = re.search(r"(?:Got|Given) value: (.*)", problem)
    if keys and keys[-1] not in types:
        known = ("shadow or recipes" if (owner, name) == (Study, "recipes") else name for name in types)
        return f"{keys[-1]} is not a key here; the keys are {', '.join(known)}"
    if keys and value:
        return f"{'.'.join(keys)} must be of type {types[keys[-1]]}; got {value[1]}"
    missing = problem.partition("arguments are required: ")[2]
    return f"it must also say {missing}" if missing else " ".join(problem.split())
