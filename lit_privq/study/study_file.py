"""The study file: which configs, how many models, which methods at which bits."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jsonargparse

from lit_privq.artifacts.config import read_tree
from lit_privq.artifacts.variant import FULL_PRECISION, Variant, precisions


@dataclass(frozen=True)
class MethodRow:
    """One quantization method at several precisions.

    Args:
        method: config of the method; its file name names the method.
        bits: numbers, or maps from layer patterns to numbers, in which ``last`` is the last layer, 32 leaves a layer
            in float, and ``name`` names the map on disk and in tables.
        adaptive: whether the shadows are quantized too, for an attacker who does as the owner does.
    """

    method: str
    bits: list[float | dict[str, float | str]]
    adaptive: bool = True

    @property
    def name(self) -> str:
        """Name of the method."""
        return Path(self.method).stem

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The row's variants, one per precision."""
        return tuple(Variant.of(self.name, bits) for bits in self.bits)


@dataclass(frozen=True)
class Study:
    """What is trained, quantized, queried and audited; all paths relative to the study file.

    Args:
        name: groups the runs in Weights & Biases.
        shadow: config that trains a model.
        query: config that queries a model.
        audit: config of the audit.
        n_shadows: even, so that every example trains exactly half of the shadows.
        n_targets: models under attack, with halves of their own.
        quantize: the methods and their precisions.
        fleet: models per process, or ``auto`` to measure it at the first start.
        split_seed: of the memberships; the data config's where left out.
        seed: of the training noise; the shadow config's where left out.
        trust: packages whose code checkpoints may name, beside those that the shadow config itself names.
    """

    name: str
    shadow: str
    query: str
    audit: str
    n_shadows: int
    n_targets: int
    quantize: list[MethodRow]
    fleet: Literal["auto"] | int = "auto"
    split_seed: int | None = None
    seed: int | None = None
    trust: list[str] = field(default_factory=list)

    @property
    def n_models(self) -> int:
        """Shadows and targets together."""
        return self.n_shadows + self.n_targets

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Whatever is audited, full precision first."""
        return FULL_PRECISION, *(variant for row in self.quantize for variant in row.variants)


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
        fields = parser.parse_object(tree).as_dict()
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{path}: {_sentence(str(error))}") from None
    rows = [MethodRow(**{**row, "method": _beside(path, row["method"])}) for row in fields["quantize"]]
    configs = {key: _beside(path, fields[key]) for key in ("shadow", "query", "audit")}
    study = Study(**{**fields, **configs, "quantize": rows})
    _check(study, path)
    return study


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
    if study.fleet != "auto" and study.fleet < 1:
        raise ValueError(f"{path}: fleet must be auto or at least 1 model per process; got {study.fleet}")
    for row in study.quantize:
        _check_bits(row, path)
    _check_names(study, path)


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
        for bits, variant in zip(row.bits, row.variants, strict=True):
            if not variant.quantized or variant != _read_back(variant):
                raise ValueError(
                    f"{path}: the name of a map must be a word that starts with a letter, and no method is named none; "
                    f"got {variant.name}, choose another name"
                )
            meaning = (row.name, tuple(precisions(bits).items()))
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
    'n_shadow is not a key here; the keys are name, shadow, query'
    """
    keys = re.findall(r"(?:Parser key|Option) [\"'](\w+)", problem)
    owner = MethodRow if keys[:1] == ["quantize"] and len(keys) > 1 else Study
    types = {field.name: str(field.type) for field in dataclasses.fields(owner)}
    value = re.search(r"(?:Got|Given) value: (.*)", problem)
    if keys and keys[-1] not in types:
        return f"{keys[-1]} is not a key here; the keys are {', '.join(types)}"
    if keys and value:
        return f"{'.'.join(keys)} must be of type {types[keys[-1]]}; got {value[1]}"
    missing = problem.partition("arguments are required: ")[2]
    return f"it must also say {missing}" if missing else " ".join(problem.split())
