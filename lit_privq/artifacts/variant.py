"""What was done to a model: a method at a precision, under one name on disk, in tables and in W&B."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

Bits: TypeAlias = float | Mapping[str, float | str]
"""One precision, or a map of shell patterns of layer names to precisions, of which the last match wins.

``last`` stands for the network's last quantizable layer, whatever it is called; ``name`` names the map in folders and
tables: ``{"name": "first8", "*": 2, "conv1": 8}``.
"""

LAST = "last"
_NAME = "name"
_NUMBER = r"\d+(?:\.\d+)?"
_SPELLING = re.compile(
    rf"(?P<method>[^~@]+)-(?P<bits>{_NUMBER})(?:-last(?P<last_bits>{_NUMBER}))?(?:-(?P<layers>(?!last)\w[\w.+]*))?"
    r"(?:~(?P<repeat>[1-9]\d*))?(?:@(?P<recipe>\w[\w.-]*))?",
    re.ASCII,
)


SEEDS_PER_DRAW = 2
"""Repeats that share one draw of the calibration examples and differ in the quantizer's seed alone."""


@dataclass(frozen=True)
class Variant:
    """What was done to a model's weights: a method at a precision; ``none`` is full precision.

    Args:
        method: name of the method, as the study's config file is called.
        bits: of all layers that nothing else is said of.
        last_bits: of the last layer.
        layers: names the map of a network whose other layers differ too; empty where none does.
        recipe: how the float model was trained; empty for the study's first recipe.
        repeat: which of several draws of the quantizer's seed and calibration examples; 0 for the first.

    >>> Variant("adaround", 1.58, 8).name, Variant("none", 32, 32).name, Variant("brecq", 2, 8, "conv1_8").name
    ('adaround-1.58-last8', 'none-32', 'brecq-2-last8-conv1_8')
    >>> Variant("brecq", 2, 2, recipe="dp_sgd").name, Variant("brecq", 2, 2, recipe="dp_sgd", repeat=1).name
    ('brecq-2@dp_sgd', 'brecq-2~1@dp_sgd')
    """

    method: str
    bits: float
    last_bits: float
    layers: str = ""
    recipe: str = ""
    repeat: int = 0

    @classmethod
    def of(cls, method: str, bits: Bits) -> Variant:
        """The variant that a method makes at one precision; a map whose precisions are all equal is that precision.

        >>> Variant.of("adaround", {"*": 1.58, "last": 8}).name, Variant.of("adaround", {"*": 2, "last": 2}).name
        ('adaround-1.58-last8', 'adaround-2')
        >>> Variant.of("brecq", {"*": 2, "layer1.*": 4, "head": 32}).name
        'brecq-2-layer1_4+head_32'
        """
        numbers = precisions(bits)
        default = numbers.get("*", min(numbers.values()))
        others = {pattern: number for pattern, number in numbers.items() if pattern not in ("*", LAST)}
        given = bits.get(_NAME) if isinstance(bits, Mapping) else None
        layers = given or "+".join(f"{_word(pattern)}_{number:g}" for pattern, number in others.items())
        return cls(method, default, numbers.get(LAST, default), str(layers) if len(numbers) > 1 else "")

    @classmethod
    def parse(cls, name: str) -> Variant:
        """The variant behind a name.

        Raises:
            ValueError: if it is no variant's name.

        >>> Variant.parse("adaround-1.58-last8")
        Variant(method='adaround', bits=1.58, last_bits=8.0, layers='', recipe='', repeat=0)
        """
        match = _SPELLING.fullmatch(name)
        if match is None:
            raise ValueError(
                "a variant is named <method>-<bits> or <method>-<bits>-last<bits>, such as adaround-1.58, and ~1 and "
                f"@recipe may follow, the repeat and the recipe; got {name!r}"
            )
        bits = float(match["bits"])
        last_bits, repeat = float(match["last_bits"] or bits), int(match["repeat"] or 0)
        return cls(match["method"], bits, last_bits, match["layers"] or "", match["recipe"] or "", repeat)

    @property
    def quantized(self) -> bool:
        """Whether anything was done at all."""
        return self.method not in ("", "none")

    @property
    def decoupled(self) -> bool:
        """Whether the last layer keeps a precision of its own."""
        return self.last_bits != self.bits

    @property
    def uniform(self) -> bool:
        """Whether all layers have the same precision."""
        return not (self.decoupled or self.layers)

    @functools.cached_property  # asked for with every file of a large study
    def name(self) -> str:
        """The variant's folder below ``checkpoints/``, ``confidence/`` and ``audit/``."""
        last = f"-last{self.last_bits:g}" if self.decoupled else ""
        layers = f"-{self.layers}" if self.layers else ""
        repeat = f"~{self.repeat}" if self.repeat else ""
        recipe = f"@{self.recipe}" if self.recipe else ""
        return f"{self.method}-{self.bits:g}{last}{layers}{repeat}{recipe}"

    @property
    def group(self) -> str:
        """Method and recipe: what tables keep together and figures draw alike.

        >>> Variant.parse("brecq-1.58-last8~2@dp_sgd").group, Variant.parse("none-32").group
        ('brecq@dp_sgd', 'none')
        """
        return f"{self.method}@{self.recipe}" if self.recipe else self.method

    @property
    def first(self) -> Variant:
        """The first draw of what this one repeats."""
        return replace(self, repeat=0)

    @property
    def baseline(self) -> Variant:
        """What its changes are from: its parent, or for a full-precision model that of the study's first recipe.

        >>> [Variant.parse(name).baseline.name for name in ("brecq-1.58@dp_sgd", "none-32@dp_sgd", "none-32")]
        ['none-32@dp_sgd', 'none-32', 'none-32']
        """
        return self.parent if self.quantized else FULL_PRECISION

    @property
    def parent(self) -> Variant:
        """The full-precision model of its recipe, from which it was made.

        >>> Variant.parse("brecq-1.58~2@dp_sgd").parent.name
        'none-32@dp_sgd'
        """
        return Variant("none", 32, 32, recipe=self.recipe)


FULL_PRECISION = Variant("none", 32, 32)


def precisions(bits: Bits) -> dict[str, float]:
    """Precisions by pattern, without the map's name and without what a later pattern overrides altogether.

    >>> precisions(2), precisions({"name": "ends8", "conv1": 4, "*": 2, "fc": 8}), precisions({"*": 2, "fc": 2})
    ({'*': 2.0}, {'*': 2.0, 'fc': 8.0}, {'*': 2.0})
    """
    numbers: dict[str, float] = {}
    for pattern, number in bits.items() if isinstance(bits, Mapping) else [("*", bits)]:
        if pattern == "*":
            numbers = {}
        if pattern != _NAME:
            numbers[pattern] = float(number)
    return {"*": numbers["*"]} if "*" in numbers and len(set(numbers.values())) == 1 else numbers


def for_network(bits: Bits, last_layer: str) -> float | dict[str, float]:
    """Precisions as quantizers take them: by patterns of one network's layers.

    >>> for_network(2, "fc"), for_network({"name": "decoupled", "*": 2, "last": 8}, last_layer="fc")
    (2.0, {'*': 2.0, 'fc': 8.0})
    """
    numbers = precisions(bits)
    if set(numbers) == {"*"}:
        return numbers["*"]
    return {last_layer if pattern == LAST else pattern: number for pattern, number in numbers.items()}


def _word(pattern: str) -> str:
    """A shell pattern without the characters that a folder's name should not have."""
    return re.sub(r"[^A-Za-z0-9]+", "_", pattern).strip("_") or "any"
