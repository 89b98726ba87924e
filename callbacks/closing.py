"""The last lines of a run: which files were written, and how good the models in them are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Quality(NamedTuple):
    """What is measured, such as "test accuracy", its value, and what else is to be said of the models."""

    what: str
    value: float
    note: str = ""


def closing_lines(written: Sequence[tuple[Path, Quality]]) -> Iterator[str]:
    """One line for each folder of files, with the mean and the range over its models.

    >>> list(closing_lines([(Path("none-32/000.ckpt"), Quality("test accuracy", 0.584))]))
    ['none-32/000.ckpt: test accuracy 58.4 %']
    >>> list(closing_lines([(Path(f"a/{k}.ckpt"), Quality("test R²", k / 10)) for k in (5, 6, 7)]))
    ['a/5.ckpt to 7.ckpt: test R² 0.6, over models 0.5 to 0.7']
    """
    for folder in dict.fromkeys(path.parent for path, _ in written):
        paths, qualities = zip(*(one for one in written if one[0].parent == folder), strict=True)
        what, values = qualities[0].what, [one.value for one in qualities]
        note = f", {qualities[0].note}" if qualities[0].note else ""
        show = "{:.1%}".format if "accuracy" in what else "{:.3g}".format
        mean, low, high = (
            show(value).replace("%", " %") for value in (sum(values) / len(values), min(values), max(values))
        )
        if len(paths) == 1:
            yield f"{paths[0]}: {what} {mean}{note}"
        else:
            yield f"{paths[0]} to {paths[-1].name}: {what} {mean}, over models {low} to {high}{note}"


def quality(made: Mapping[str, Any]) -> Quality:
    """What a checkpoint says of its model: the error of its units if it was calibrated, else its utility in tests.

    Args:
        made: the checkpoint's part ``lit_privq``. That of a calibrated model repeats its parent's utility.
    """
    if "calibration" in made and (units := made["units"]):
        return Quality("mean relative error of its units", sum(unit["error"] for unit in units) / len(units))
    what, value = ("test R²", made["r2"]) if "r2" in made else ("test accuracy", made["accuracy"])
    return Quality(what, value, guarantee(made["dp_sgd"]) if "dp_sgd" in made else "")


def guarantee(spent: Mapping[str, Any]) -> str:
    """What a checkpoint's part ``dp_sgd`` guarantees, in words.

    >>> guarantee({"epsilon": 239.24, "delta": 1e-5}), guarantee({"epsilon": None, "delta": 1e-5})
    ('epsilon 239 at delta 1e-05', 'no guarantee of privacy')
    """
    if spent["epsilon"] is None:
        return "no guarantee of privacy"
    return f"epsilon {spent['epsilon']:.3g} at delta {spent['delta']:g}"
