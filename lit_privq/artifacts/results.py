"""results.csv, written and read in one place: one number for each target, variant, attacker, attack and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, nan
from pathlib import Path
from typing import NamedTuple

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.artifacts.variant import Variant

COLUMNS = (
    "dataset",
    "net",
    "target",
    "method",
    "bits",
    "last_bits",
    "layers",
    "attacker",
    "attack",
    "metric",
    "value",
    "low",
    "high",
    "fpr",
    "slice",
    "against",
    "recipe",
    "repeat",
)
_OPTIONAL = ("layers", "low", "high", "fpr", "slice", "against", "recipe", "repeat")  # earlier versions lack them

DEFAULT_RECIPE = "default"  # the name of a study's first recipe, where it has no other

ALL = "all"  # the slice of all members
CALIBRATION, NOT_CALIBRATION = "calibration", "not_calibration"  # those that calibrated a quantizer, and the others
MOST_VULNERABLE = "most_vulnerable"  # those that full-precision models give away most
CANARIES = "canaries"  # planted examples that a model can only memorize
CLASS = "class_"  # how the slices of single classes begin
POOL, SLICE = "pool", "slice"  # whose non-members stand against a slice's members: everybody's, or its own


class Result(NamedTuple):
    """One number of one target; attacker and attack are empty where nobody attacks.

    ``fpr`` is the false-positive rate at which a true-positive rate was read: below its bound, far below where scores
    tie.
    """

    dataset: str
    net: str
    variant: Variant
    target: int
    attacker: str
    attack: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    fpr: float = math.nan
    slice: str = ALL
    against: str = POOL

    @property
    def key(self) -> Key:
        """What was measured."""
        return Key(self.variant, self.metric, self.attacker, self.attack, self.slice, self.against)


class OwnValue(NamedTuple):
    """One value of results.csv, NaN where it is empty; beside it its 95 % interval and false-positive rate, or NaN."""

    value: float
    low: float
    high: float
    fpr: float = math.nan


class Key(NamedTuple):
    """What was measured.

    Args:
        variant: of the targets.
        metric: name, such as ``auc`` or ``tpr_at_0.01``.
        attacker: empty where nobody attacks (accuracy).
        attack: likewise.
        slice: the members that count; ``all`` for every one.
        against: ``pool`` where all non-members set the threshold, ``slice`` where those of the slice do.
    """

    variant: Variant
    metric: str
    attacker: str = ""
    attack: str = ""
    slice: str = ALL
    against: str = POOL


@dataclass(frozen=True)
class Results:
    """All of results.csv, for one data set and one network per recipe.

    Args:
        dataset: its name, for the page's title.
        nets: the network's name, by recipe as variants spell it; in the file's order.
        series: the cells of each key by target (model index), in the file's order.
        first_recipe: name of the recipe that variants do not spell.
    """

    dataset: str
    nets: Mapping[str, str]
    series: Mapping[Key, Mapping[int, OwnValue]]
    first_recipe: str = DEFAULT_RECIPE

    @property
    def net(self) -> str:
        """The networks' names."""
        return ", ".join(dict.fromkeys(self.nets.values()))

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes as variants spell them, in the file's order: the first is empty."""
        return tuple(self.nets)

    def cells(
        self,
        variant: Variant,
        metric: str,
        attacker: str = "",
        attack: str = "",
        slice: str = ALL,
        against: str = POOL,
    ) -> dict[int, OwnValue]:
        """The cells that hold a value, by target; none where it was not measured or the value is empty."""
        cells = self.series.get(Key(variant, metric, attacker, attack, slice, against), {})
        return {target: cell for target, cell in cells.items() if isfinite(cell.value)}

    def values(self, variant: Variant, metric: str, attacker: str = "", attack: str = "") -> dict[int, float]:
        """The values of all examples by target; see ``cells``."""
        return {target: cell.value for target, cell in self.cells(variant, metric, attacker, attack).items()}

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Recipe by recipe, as all below as they first appear: full precision, then method by method.

        Of a method most bits come first, uniform before mixed ones. Repeats are left out: what is said of a variant is
        said of its first draw, see :attr:`repeats`.
        """
        return tuple(variant for variant in self._ordered if not variant.repeat)

    @property
    def repeats(self) -> tuple[Variant, ...]:
        """Further draws of the variants, in the same order."""
        return tuple(variant for variant in self._ordered if variant.repeat)

    @property
    def _ordered(self) -> tuple[Variant, ...]:
        """All variants, repeats behind what they repeat."""
        found = dict.fromkeys(key.variant for key in self.series)
        methods = list(dict.fromkeys(variant.method for variant in found))

        def place(v: Variant) -> tuple[object, ...]:
            method = (v.quantized, methods.index(v.method))
            return (self.recipes.index(v.recipe), *method, not v.uniform, -v.bits, -v.last_bits, v.layers, v.repeat)

        return tuple(sorted(found, key=place))

    @cached_property
    def full_precision(self) -> Variant | None:
        """Full precision of the first recipe."""
        return next((variant for variant in self.variants if not variant.quantized), None)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The quantization methods."""
        return tuple(dict.fromkeys(variant.method for variant in self.variants if variant.quantized))

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        """The attacks, in the file's order."""
        return tuple(dict.fromkeys(key.attack for key in self.series if key.attack))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, in the file's order."""
        return tuple(dict.fromkeys(key.metric for key in self.series))

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Every target's model index, in order."""
        return tuple(sorted({target for cells in self.series.values() for target in cells}))

    def attackers(self, variant: Variant) -> tuple[str, ...]:
        """Who attacked a variant, in the file's order."""
        return tuple(dict.fromkeys(key.attacker for key in self.series if key.attack and key.variant == variant))


def gather(rows: Iterable[Result], first_recipe: str = DEFAULT_RECIPE) -> Results:
    """The results that rows of one data set and one network per recipe make.

    Raises:
        ValueError: if there are no rows.
    """
    series: dict[Key, dict[int, OwnValue]] = {}
    dataset, nets = "", dict[str, str]()
    for row in rows:
        dataset = row.dataset
        nets[row.variant.recipe] = row.net
        series.setdefault(row.key, {})[row.target] = OwnValue(row.value, row.low, row.high, row.fpr)
    if not series:
        raise ValueError("results must hold at least one row; got none; run `audit` again")
    return Results(dataset, nets, series, first_recipe)


def write_results(path: Path, rows: Iterable[Result], first_recipe: str = DEFAULT_RECIPE) -> None:
    """Write results.csv; NaN, "not measurable", is an empty field, and the first recipe has its name there."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        v = row.variant
        table.writerow(
            [
                row.dataset,
                row.net,
                row.target,
                v.method,
                f"{v.bits:g}",
                f"{v.last_bits:g}",
                v.layers,
                row.attacker,
                row.attack,
                row.metric,
            ]
            + [_field(value) for value in (row.value, row.low, row.high, row.fpr)]
            + [row.slice, row.against, v.recipe or first_recipe, v.repeat]
        )
    atomic_write_bytes(path, text.getvalue().encode())


def read_results(path: Path) -> Results:
    """Read and check results.csv.

    Args:
        path: a file with the ``COLUMNS``, where those of earlier versions may be missing; further columns are ignored.
            An empty value means "not measurable" (an operating point below one false positive), empty bits 32. The
            recipe of the first row is the study's first.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no such file, is cut short, repeats itself, or mixes data sets, or networks in a recipe.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; a report needs an audit's results.csv, run `audit` first")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _collect(path, _records(path, file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be comma-separated UTF-8 text; {error}; run `audit` again") from error


def _records(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of every row."""
    reader = csv.reader(lines)
    header = next(reader, [])
    missing = [column for column in COLUMNS if column not in (*header, *_OPTIONAL)]
    if missing:
        raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    for fields in reader:
        if len(fields) != len(header):
            raise ValueError(
                f"{path} is damaged: line {reader.line_num} has {len(fields)} fields, the header {len(header)}; "
                "run `audit` again"
            )
        yield reader.line_num, dict(zip(header, fields, strict=True))


def _collect(path: Path, records: Iterator[tuple[int, dict[str, str]]]) -> Results:
    """All rows as one object, refused where two of them contradict each other."""
    rows: dict[tuple[Key, int], Result] = {}
    firsts: dict[str, Result] = {}  # of each recipe
    first_recipe = ""
    for line, record in records:
        first_recipe = first_recipe or record.get("recipe") or DEFAULT_RECIPE
        try:
            row = _parse(record, first_recipe)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: line {line}: {error}; run `audit` again") from error
        first = firsts.setdefault(row.variant.recipe, row)._replace(dataset=next(iter(firsts.values())).dataset)
        if (row.dataset, row.net) != (first.dataset, first.net):
            raise ValueError(
                f"{path} must hold one data set and one network for each recipe; got {first.dataset} with {first.net} "
                f"and, in line {line}, {row.dataset} with {row.net}; report each from its own folder"
            )
        if (row.key, row.target) in rows:
            raise ValueError(f"{path} must measure everything once; line {line} repeats an earlier one")
        rows[row.key, row.target] = row
    if not rows:
        raise ValueError(f"{path} has a header and no rows; run `audit` again")
    return gather(rows.values(), first_recipe)


def _parse(record: Mapping[str, str], first_recipe: str) -> Result:
    """One row."""
    bits, recipe = _number(record["bits"], 32.0), record.get("recipe") or first_recipe
    variant = Variant(
        record["method"],
        bits,
        _number(record["last_bits"], bits),
        record.get("layers", ""),
        "" if recipe == first_recipe else recipe,
        int(record.get("repeat") or 0),
    )
    value, *ends = (_number(record.get(column, ""), nan) for column in ("value", "low", "high", "fpr"))
    if abs(value) == inf:
        raise ValueError("the value is infinite")
    low, high, fpr = ends
    return Result(
        record["dataset"],
        record["net"],
        variant,
        int(record["target"]),
        record["attacker"],
        record["attack"],
        record["metric"],
        value,
        low,
        high,
        fpr,
        record.get("slice") or ALL,
        record.get("against") or POOL,
    )


def _number(text: str, empty: float) -> float:
    """A number, or what an empty field stands for."""
    return float(text) if text else empty


def _field(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
