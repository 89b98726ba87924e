"""The study file: which configs, how many models, which methods at which bits."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml

from lit_privq.artifacts.variant import FULL_PRECISION, Variant


@dataclass(frozen=True)
class Row:
    """One quantization method at several precisions.

    Args:
        method: config of the method; its file name names the method.
        bits: numbers, or maps from layer patterns to numbers.
        adaptive: whether the shadows are quantized too, for an attacker who does as the owner does.
    """

    method: str
    bits: list[float | dict[str, float]]
    adaptive: bool = True

    @property
    def name(self) -> str:
        """Name of the method."""
        return Path(self.method).stem

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the row's variants, one per precision."""
        return tuple(Variant.of(self.name, bits).name for bits in self.bits)


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
    quantize: list[Row]
    fleet: Literal["auto"] | int = "auto"
    split_seed: int | None = None
    seed: int | None = None
    trust: list[str] = field(default_factory=list)

    @property
    def n_models(self) -> int:
        """Shadows and targets together."""
        return self.n_shadows + self.n_targets

    @property
    def variants(self) -> tuple[str, ...]:
        """Every folder below ``confidence/``, full precision first."""
        return FULL_PRECISION.name, *(variant for row in self.quantize for variant in row.variants)


def read_study(path: Path) -> Study:
    """A checked study, its paths made relative to where the reader stands.

    Raises:
        ValueError: for a misspelt key or a value that cannot be meant, in one sentence.
        FileNotFoundError: if the file, or a config it names, does not exist.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study)
    try:
        fields = parser.parse_object(read_tree(path)).as_dict()
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{path}: {_sentence(str(error))}") from None
    rows = [Row(**{**row, "method": _beside(path, row["method"])}) for row in fields["quantize"]]
    configs = {key: _beside(path, fields[key]) for key in ("shadow", "query", "audit")}
    study = Study(**{**fields, **configs, "quantize": rows})
    _check(study, path)
    return study


def read_tree(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a YAML file; {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must hold keys and values; got {type(tree).__name__}")
    return tree


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
        numbers = [x for bits in row.bits for x in (bits.values() if isinstance(bits, dict) else [bits])]
        wrong = [x for x in numbers if not 1 <= x <= 8]
        if wrong or not numbers or {} in row.bits:
            got = wrong[0] if wrong else row.bits
            raise ValueError(f"{path}: bits of {row.name} must be numbers from 1 to 8, such as [4, 2, 1.58]; got {got}")
    twice = sorted({name for name in study.variants if study.variants.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: every method and precision must be listed once; {', '.join(twice)} occurs again")


def _sentence(problem: str) -> str:
    """What jsonargparse says in many lines, said in one.

    >>> _sentence("Option 'n_shadow' is not accepted")[:60]
    'n_shadow is not a key here; the keys are name, shadow, query'
    """
    keys = re.findall(r"(?:Parser key|Option) [\"'](\w+)", problem)
    owner = Row if keys[:1] == ["quantize"] and len(keys) > 1 else Study
    types = {field.name: str(field.type) for field in dataclasses.fields(owner)}
    value = re.search(r"(?:Got|Given) value: (.*)", problem)
    if keys and keys[-1] not in types:
        return f"{keys[-1]} is not a key here; the keys are {', '.join(types)}"
    if keys and value:
        return f"{'.'.join(keys)} must be of type {types[keys[-1]]}; got {value[1]}"
    missing = problem.partition("arguments are required: ")[2]
    return f"it must also say {missing}" if missing else " ".join(problem.split())
