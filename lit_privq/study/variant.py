"""What a quantized model is called on disk: its method and its bits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

LAST_LAYERS = ("fc", "classifier", "head", "linear")  # what networks call their last layer

_VARIANT = re.compile(r"(?P<method>.+)-(?P<bits>\d+(?:\.\d+)?)(?:-last(?P<last_bits>\d+(?:\.\d+)?))?", re.ASCII)


def variant_name(method: str, bits: float | Mapping[str, float]) -> str:
    """Folder name of the models made by one method at one precision.

    Args:
        method: name of the method; ``none`` for full precision.
        bits: a number, or a map from shell patterns of layer names to numbers. A map of ``*`` and the last layer is
            the decoupled model; any other map is named by its default precision and a digest of the whole map.

    >>> variant_name("none", 32), variant_name("adaround", 1.58)
    ('none-32', 'adaround-1.58')
    >>> variant_name("adaround", {"*": 1.58, "fc": 8})
    'adaround-1.58-last8'
    """
    if not isinstance(bits, Mapping):
        return f"{method}-{bits:g}"
    patterns = list(bits)
    default = bits.get("*", min(bits.values()))
    if len(patterns) == 2 and patterns[0] == "*" and patterns[1].removeprefix("*.") in LAST_LAYERS:
        return f"{method}-{default:g}-last{bits[patterns[1]]:g}"
    pairs = json.dumps([[pattern, float(number)] for pattern, number in bits.items()])  # order matters: last match wins
    return f"{method}-map{hashlib.blake2b(pairs.encode(), digest_size=3).hexdigest()}-{default:g}"


def parse_variant(name: str) -> tuple[str, float, float]:
    """Method, bits and bits of the last layer behind a folder name.

    A general map's digest stays with the method: two maps of one method are two rows of a table, at their default bits.

    Raises:
        ValueError: if the name was not made by `variant_name`.

    >>> parse_variant("adaround-1.58-last8"), parse_variant("none-32")
    (('adaround', 1.58, 8.0), ('none', 32.0, 32.0))
    """
    match = _VARIANT.fullmatch(name)
    if match is None:
        raise ValueError(
            f"a variant is named <method>-<bits> or <method>-<bits>-last<bits>, such as adaround-1.58; got {name!r}"
        )
    bits = float(match["bits"])
    return match["method"], bits, float(match["last_bits"] or bits)
