"""What was done to a model: a method at a precision, under one name on disk, in tables and in W&B."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_LAST_LAYERS = ("fc", "classifier", "head", "linear")  # what networks call their last layer
_NAME = re.compile(r"(?P<method>.+)-(?P<bits>\d+(?:\.\d+)?)(?:-last(?P<last_bits>\d+(?:\.\d+)?))?", re.ASCII)


@dataclass(frozen=True)
class Variant:
    """What was done to a model's weights: a method at a precision; ``none`` is full precision.

    >>> Variant("adaround", 1.58, 8).name, Variant("none", 32, 32).name
    ('adaround-1.58-last8', 'none-32')
    """

    method: str
    bits: float
    last_bits: float

    @classmethod
    def of(cls, method: str, bits: float | Mapping[str, float]) -> Variant:
        """The variant that a method makes at one precision.

        Args:
            method: name of the method; ``none`` for full precision.
            bits: a number, or a map from shell patterns of layer names to numbers. A map of ``*`` and the last layer
                is the decoupled model; any other map is named by its default precision and a digest of the whole map.

        >>> Variant.of("adaround", 1.58).name, Variant.of("adaround", {"*": 1.58, "fc": 8}).name
        ('adaround-1.58', 'adaround-1.58-last8')
        """
        if not isinstance(bits, Mapping):
            return cls(method, bits, bits)
        patterns = list(bits)
        default = bits.get("*", min(bits.values()))
        if len(patterns) == 2 and patterns[0] == "*" and patterns[1].removeprefix("*.") in _LAST_LAYERS:
            return cls(method, default, bits[patterns[1]])
        pairs = json.dumps([[pattern, float(number)] for pattern, number in bits.items()])  # last match wins
        return cls(f"{method}-map{hashlib.blake2b(pairs.encode(), digest_size=3).hexdigest()}", default, default)

    @classmethod
    def parse(cls, name: str) -> Variant:
        """The variant behind a name.

        Raises:
            ValueError: if it is no variant's name.

        >>> Variant.parse("adaround-1.58-last8")
        Variant(method='adaround', bits=1.58, last_bits=8.0)
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"a variant is named <method>-<bits> or <method>-<bits>-last<bits>, such as adaround-1.58; got {name!r}"
            )
        bits = float(match["bits"])
        return cls(match["method"], bits, float(match["last_bits"] or bits))

    @property
    def quantized(self) -> bool:
        """Whether anything was done at all."""
        return self.method not in ("", "none")

    @property
    def decoupled(self) -> bool:
        """Whether the last layer keeps a precision of its own."""
        return self.last_bits != self.bits

    @property
    def name(self) -> str:
        """The variant's folder below ``checkpoints/``, ``confidence/`` and ``audit/``."""
        return f"{self.method}-{self.bits:g}" + (f"-last{self.last_bits:g}" if self.decoupled else "")


FULL_PRECISION = Variant("none", 32, 32)
