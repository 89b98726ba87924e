"""Numbers and names in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log10

from lit_privq.artifacts.variant import Variant

PERCENT = "\N{NO-BREAK SPACE}%"
FEW = 3  # as many things are named; of more the number is given
_NBSP = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line
_UNQUANTIZED = {"none": "Full precision", "": "Model"}  # what results.csv calls models as they were trained


@dataclass(frozen=True)
class Titles:
    """Names of methods, attacks and recipes as people write them; a name without a title stays as it is.

    Args:
        methods: title by name.
        attacks: title by name.
        recipes: title by name, as variants spell it: that of the first recipe is empty, and so is its title mostly.
    """

    methods: Mapping[str, str] = field(default_factory=dict)
    attacks: Mapping[str, str] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)

    def attack(self, name: str) -> str:
        """An attack's title.

        >>> Titles(attacks={"base": "BASE"}).attack("base"), Titles().attack("my_attack")
        ('BASE', 'my attack')
        """
        return self.attacks.get(name, spaced(name))

    def method(self, name: str) -> str:
        """A method's title; a config that adds words to the name of one has its title and the words.

        >>> [Titles(methods={"obc": "OBC"}).method(name) for name in ("obc", "obc_short", "my_method", "none", "")]
        ['OBC', 'OBC short', 'my method', 'Full precision', 'Model']
        """
        known = max((each for each in self.methods if name.startswith(f"{each}_")), key=len, default="")
        if known and name not in self.methods:
            return f"{self.methods[known]} {spaced(name.removeprefix(f'{known}_'))}"
        return self.methods.get(name) or _UNQUANTIZED.get(name) or spaced(name)

    def recipe(self, name: str) -> str:
        """A recipe's title; empty for the first one, unless it was given one.

        >>> Titles(recipes={"dp": "DP-SGD"}).recipe("dp"), Titles().recipe("weight_decay"), Titles().recipe("")
        ('DP-SGD', 'Weight decay', '')
        """
        return self.recipes.get(name) or capitalized(spaced(name))

    def group(self, variant: Variant) -> str:
        """Recipe and method.

        >>> [Titles().group(Variant(method, 2, 2, recipe="smooth")) for method in ("obc", "none")]
        ['Smooth, obc', 'Smooth']
        """
        recipe, method = self.recipe(variant.recipe), self.method(variant.method)
        if not variant.quantized:
            return recipe or method
        return f"{recipe}, {method}" if recipe else method

    def label(self, variant: Variant) -> str:
        r"""Recipe, method and precision.

        >>> Titles().label(Variant("adaround", 1.58, 1.58)), Titles().label(Variant("none", 32, 32))
        ('adaround 1.58\xa0bits', 'Full precision')
        >>> Titles().label(Variant("none", 32, 32, recipe="smooth"))
        'Smooth, full precision'
        """
        if variant.quantized:
            return f"{self.group(variant)} {bits(variant)}"
        recipe, method = self.recipe(variant.recipe), self.method(variant.method)
        return f"{recipe}, {method[0].lower()}{method[1:]}" if recipe else method


NO_TITLES = Titles()


def spaced(name: str) -> str:
    """A name with spaces for underscores."""
    return name.replace("_", " ")


def bits(variant: Variant) -> str:
    r"""A variant's precision.

    >>> bits(Variant("obc", 2, 8)), bits(Variant("sign", 1, 1)), bits(Variant("obc", 2, 2, "conv1_8"))
    ('2\xa0bits, last layer 8', '1\xa0bit', '2\xa0bits, conv1_8')
    """
    return width(variant.bits) + exceptions(variant)


def exceptions(variant: Variant) -> str:
    """The layers of a variant that have a precision of their own; empty where none has."""
    return (f", last layer {variant.last_bits:g}" if variant.decoupled else "") + (
        f", {variant.layers}" if variant.layers else ""
    )


def width(bits: float) -> str:
    r"""A number of bits.

    >>> width(1.58), width(1)
    ('1.58\xa0bits', '1\xa0bit')
    """
    return f"{bits:g}{_NBSP}bit" + ("" if bits == 1 else "s")


def percent(rate: float, decimals: int = 1) -> str:
    r"""A fraction in percent; a dash where there is none.

    >>> percent(0.0512), percent(float("nan"))
    ('5.1\xa0%', '–')
    """
    return f"{100 * rate:z.{decimals}f}{_NBSP}%" if isfinite(rate) else "–"


def odds(prior: float) -> str:
    """A share in words.

    >>> odds(0.5), odds(0.01)
    ('1 in 2', '1 in 100')
    """
    return f"1 in {1 / prior:.3g}"


def bound_percent(bound: float) -> str:
    r"""A bound on the false-positive rate, without trailing zeros.

    >>> bound_percent(0.001), bound_percent(0.01)
    ('0.1\xa0%', '1\xa0%')
    """
    return f"{100 * bound:g}{_NBSP}%"


def measure(bound: float | None) -> str:
    r"""What leakage is measured by.

    >>> measure(0.01), measure(None)
    ('TPR at 1\xa0% FPR', 'AUC of the attack')
    """
    return "AUC of the attack" if bound is None else f"TPR at {bound_percent(bound)} FPR"


def decimals(bound: float | None) -> int:
    """Digits after the point of a percentage that is worth showing beside a bound.

    >>> decimals(0.01), decimals(0.001), decimals(None)
    (1, 2, 1)
    """
    return 1 if bound is None else max(1, round(-log10(bound)) - 1)


@dataclass(frozen=True)
class Step:
    """How a difference is written.

    Args:
        scale: from the file's numbers to those that are written.
        digits: after the point.
        unit: behind a number.
    """

    scale: float
    digits: int
    unit: str

    def size(self, value: float) -> str:
        """A number without its unit.

        >>> POINTS.size(0.021), POINTS.size(-0.0001)
        ('2.1', '0.0')
        """
        return f"{self.scale * value:z.{self.digits}f}".replace("-", "−")

    def signed(self, value: float) -> str:
        """The same with its sign; what is rounded to zero has none.

        >>> POINTS.signed(-0.021), POINTS.signed(0.002), POINTS.signed(-0.0001)
        ('−2.1', '+0.2', '0.0')
        """
        text = self.size(value)
        return f"+{text}" if value > 0 and text.strip("0.") else text


POINTS = Step(100.0, 1, " points")
NUMBER = Step(1.0, 3, "")


def points(bound: float | None) -> Step:
    """How a difference of true-positive rates below a bound, or of areas, is written: in percentage points."""
    return Step(100.0, decimals(bound), " points")


def joined(parts: Sequence[str]) -> str:
    """Parts in one phrase.

    >>> joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "target"), counted(4, "target")
    ('1 target', '4 targets')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")


def capitalized(text: str) -> str:
    """The text with a capital first letter and the rest as it is.

    >>> capitalized("members of AUC")
    'Members of AUC'
    """
    return text[:1].upper() + text[1:]


def size(values: Mapping[int, float]) -> str:
    r"""Mean size of a file over targets, in thousands of bytes or a larger unit.

    >>> size({16: 81_000.0, 17: 81_200.0}), size({16: 44.7e6}), size({})
    ('81.1\xa0kB', '44.7\xa0MB', '–')
    """
    if not values:
        return "–"
    mean = sum(values.values()) / len(values)
    unit, name = (1e6, "MB") if mean >= 1e6 else (1e3, "kB")
    return f"{mean / unit:.1f}{_NBSP}{name}"


def ranged(low: float, high: float, digits: int = 1) -> str:
    r"""The ends of an interval of rates, in percent; empty where there is none.

    >>> ranged(0.02, 0.061), ranged(float("nan"), 1.0)
    ('2.0 to 6.1\xa0%', '')
    """
    if not (isfinite(low) and isfinite(high)):
        return ""
    return f"{100 * low:z.{digits}f} to {percent(high, digits)}"


def p_value(p: float) -> str:
    r"""A p-value, no finer than anybody should read it.

    >>> p_value(0.0312), p_value(0.00002), p_value(1.0)
    ('p\xa0=\xa00.031', 'p\xa0<\xa00.001', 'p\xa0=\xa01')
    """
    return f"p{_NBSP}<{_NBSP}0.001" if p < 0.001 else f"p{_NBSP}={_NBSP}{p:.2g}"
