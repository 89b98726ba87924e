"""Options of an audit, and how a command line is read into them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import yaml
from jsonargparse.typing import restricted_string_type

from lit_privq import __version__
from lit_privq.arguments import config_parser, in_order, read
from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.results import ALL, DEFAULT_RECIPE
from lit_privq.artifacts.scores import RESERVED
from lit_privq.attacks import Attack, Observed, family, paired, standard
from lit_privq.audit.folder import Design
from lit_privq.audit.gate import read_rule
from lit_privq.audit.slices import Slices

_LISTS = ("--attacks", "--targets", "--max_fpr", "--fail_if", "--recipes", "--leave_out")
_BOUNDS = [0.00001, 0.0001, 0.001, 0.01]
_QUOTED = 'a YAML file gives lists of words in quotes, such as targets: ["64:74", "80"], and max_fpr numbers'
Word = restricted_string_type("Word", ".")  # a range as it was typed: YAML makes the number 490 of 8:10
_EXAMPLE = """examples:
  python -m lit_privq audit --config configs/audit/digits.yaml --input runs/digits/confidence --output runs/digits
  python -m lit_privq audit --input mine.npz --targets 64:74 --output runs/mine
"""


@dataclass(frozen=True)
class Audit:
    """What is audited, and how.

    Args:
        input: a study's ``confidence`` folder; or an .npz or a folder of .npy with ``members`` (models, examples) and
            ``confidence`` (models, examples, queries), or ``logits`` (..., classes) and ``labels``.
        output: folder for scores, results.csv, metrics.json and the report.
        define: attacks by name, in the place of the standard ones.
        add: further attacks by name, or others under the name of one that is defined.
        attacks: which of them to run; all by default.
        design: whether targets are held out from the shadows, or every shadow is a target in turn.
        targets: rows or ranges of rows of an .npz that are targets, such as 64:74, in quotes where YAML is read; a
            study knows its own.
        n_targets: held-out targets of a study; None takes the most that a dump names, as targets can be added later.
        leave_out: models of a study that are missing, as their training diverged; those left are audited.
        recipes: names of a study's recipes in its order, the first and nameless one's too; by default those of the
            study.json beside the ``confidence`` folder, or ``default`` where there is none.
        families: what people call each recipe's family, by the recipe's name: recipes of one, such as noise levels, are
            points of one front at equal accuracy. A recipe that is left out is a family of its own. By default those
            of the study.json, too.
        equal_groups: cut every held-out example's groups to the poorest example's, as the public reference does.
        max_fpr: bounds on the false-positive rate at which the true-positive rate is reported.
        paired: attacks of the attacker who holds the full-precision parent of a quantized target, by name; of these
            too only those that ``attacks`` names.
        family: attacks of the attacker who holds several precisions of each target, by name; of these too only those
            that ``attacks`` names.
        slices: sets of examples that are reported by themselves; ``--slices FILE.npz`` names a file of them.
        delta: of (epsilon, delta) differential privacy, for the lower bounds on epsilon.
        fail_if: rules such as ``tpr_at_0.001 > 0.02``; a model that meets one makes the audit end with status 1.
        slice: whose leakage the rules are about.
        resamples: curves drawn for the intervals of rates at few false positives and of log-AUROCs; 0 leaves out all
            intervals.
        seed: of the drawing.
        report: draw the page.

    Raises:
        ValueError: if there is no attack or one's name cannot be written, or if another option makes no sense.
    """

    input: Path
    output: Path
    define: dict[str, Attack] = field(default_factory=standard)
    add: dict[str, Attack] = field(default_factory=dict)
    attacks: list[str] | None = None
    design: Design = "held_out"
    targets: list[str] | None = None
    n_targets: int | None = None
    leave_out: list[int] | None = None
    recipes: list[str] | None = None
    families: dict[str, str] = field(default_factory=dict)
    equal_groups: bool = False
    max_fpr: list[float] = field(default_factory=_BOUNDS.copy)
    paired: dict[str, Attack] = field(default_factory=paired)
    family: dict[str, Attack] = field(default_factory=family)
    slices: Slices = field(default_factory=Slices)
    delta: float = 0.0
    fail_if: list[str] | None = None
    slice: str = ALL
    resamples: int = 400
    seed: int = 0
    report: bool = True

    def __post_init__(self) -> None:
        for option in ("define", "add", "paired", "family"):
            if getattr(self, option) is None:
                raise ValueError(f"{option} must be a map of attacks; got null; write {{}} for none")
        if not self.defined():
            raise ValueError("define must hold at least one attack; got none; leave it out for the standard ones")
        for name in (*self.defined(), *self.paired, *self.family):
            if not isinstance(name, str) or name in RESERVED:
                raise ValueError(
                    f"an attack's name must be text other than {', '.join(RESERVED)}, which scores.npz and its "
                    f"writer need; got {name!r}; rename it"
                )
        if bad := [bound for bound in self.max_fpr if not 0 < bound <= 1]:
            raise ValueError(f"max_fpr holds fractions in (0, 1], 0.001 for 0.1 %; got {', '.join(map(str, bad))}")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta is a probability in [0, 1), 1e-5 is usual; got {self.delta}")
        for rule in self.fail_if or ():
            read_rule(rule)
        if self.resamples < 0 or self.resamples == 1:
            raise ValueError(f"resamples must be 0 (no intervals) or at least 2; got {self.resamples}; 400 are usual")

    @property
    def first_recipe(self) -> str:
        """Name of the study's first recipe, which the names of variants leave out."""
        return self.recipes[0] if self.recipes else DEFAULT_RECIPE

    def described(self) -> dict[str, Any]:
        """Options as plain values, for the record."""
        attacks, paired = (
            {name: repr(attack) for name, attack in each.items()} for each in (self.chosen(), self.chosen_paired())
        )
        names = ("design", "targets", "recipes", "families", "equal_groups", "max_fpr", "delta", "resamples", "seed")
        options = {name: getattr(self, name) for name in names}
        versions = {"lit_privq": __version__, "numpy": np.__version__}
        return {"input": str(self.input), "attacks": attacks, "paired": paired, **options, "versions": versions}

    def defined(self) -> dict[str, Attack]:
        """All attacks by name."""
        return {**self.define, **self.add}

    def chosen(self) -> dict[str, Attack]:
        """The attacks to run.

        Raises:
            ValueError: if one is not defined.
        """
        defined = self.defined()
        unknown = [name for name in self.attacks or () if name not in defined]
        if unknown:
            raise ValueError(f"no attack is named {', '.join(unknown)}; there are {', '.join(defined)}")
        return {name: defined[name] for name in self.attacks or defined}

    def chosen_paired(self) -> dict[str, Attack]:
        """The attacks of the paired attacker to run, perhaps none."""
        return {name: attack for name, attack in self.paired.items() if name in (self.attacks or self.paired)}

    def chosen_family(self) -> dict[str, Attack]:
        """The attacks of the attacker who holds several precisions to run, perhaps none."""
        return {name: attack for name, attack in self.family.items() if name in (self.attacks or self.family)}

    def suited(self, models: Observed) -> dict[str, Attack]:
        """The attacks to run on these models, less those that lack classes or labels, unless they are asked for."""
        chosen = self.chosen()
        if self.attacks:
            return chosen
        fitting = {
            name: attack
            for name, attack in chosen.items()
            if not (attack.needs_classes and models.values)
            and not (attack.needs_labels and (models.labels is None or models.values))
        }
        return fitting or chosen

    def titles(self) -> dict[str, str]:
        """Titles of the attacks to run, by name; attacks of the same title are told apart by their names."""
        attacks = {**self.chosen_family(), **self.chosen_paired(), **self.chosen()}
        titles = {name: attack.title for name, attack in attacks.items()}
        shared = [title for title in titles.values() if list(titles.values()).count(title) > 1]
        return {name: f"{title} ({name})" if title in shared else title for name, title in titles.items()}


def parse(argv: Sequence[str]) -> Audit:
    """Options from a command line.

    Config files are read first, wherever they stand, so that what is typed wins. Lists are words or a list in brackets:
    ``--max_fpr 0.01 0.05`` or ``--max_fpr [0.01,0.05]``.

    Raises:
        ValueError: if an option is unknown or unusable.
        SystemExit: after ``--help`` or ``--print_config``.
    """
    try:
        config = read(parser(), _with_whole_configs(_with_slices_file(in_order(argv, _LISTS))))
    except ValueError as error:
        unquoted = re.search('key "(attacks|targets|fail_if)"|not iterable', str(error))
        raise ValueError(f"{error}; {_QUOTED}" if unquoted else str(error)) from None
    return Audit(**{key: value for key, value in config.as_dict().items() if key != "config"})


def parser() -> jsonargparse.ArgumentParser:
    """The parser of the verb's options."""
    does = "Attack confidences and report what leaks."
    made = config_parser("audit", does, _EXAMPLE, config="YAML file with any of the options below")
    made.add_class_arguments(
        Audit, skip={"attacks", "targets", "leave_out", "recipes", "max_fpr", "fail_if"}, sub_configs=True
    )
    made.add_argument("--attacks", nargs="+", type=Word, help="names of the attacks to run")
    made.add_argument("--targets", nargs="+", type=Word, help="target rows or ranges of an .npz, such as 64:74 80")
    made.add_argument("--leave_out", nargs="+", type=int, help="models of a study that diverged, such as 3 17")
    made.add_argument("--recipes", nargs="+", type=Word, help="names of a study's recipes in its order")
    bounds = "false-positive rates, such as 0.001 0.01, at which true-positive rates are reported"
    made.add_argument("--max_fpr", nargs="+", type=float, default=_BOUNDS, help=bounds)
    rules = 'rules such as "tpr_at_0.001 > 0.02"; the audit ends with status 1 where a model meets one'
    made.add_argument("--fail_if", nargs="+", type=Word, help=rules)
    made.set_defaults(define=_spelled_all(standard()), paired=_spelled_all(paired()), family=_spelled_all(family()))
    return made


def _with_slices_file(argv: Sequence[str]) -> list[str]:
    """``--slices FILE.npz`` in the form that the parser takes.

    >>> _with_slices_file(["--slices", "mine.npz", "--seed", "1"])
    ['--slices.file', 'mine.npz', '--seed', '1']
    """
    following = [*argv[1:], ""]
    return [
        "--slices.file" if (word, value[-4:]) == ("--slices", ".npz") else word
        for word, value in zip(argv, following, strict=True)
    ]


def _with_whole_configs(argv: Sequence[str]) -> list[str]:
    """Config files with the files that they name in place, so that ``--add.mine X`` adds to a map."""
    before = ["", *argv[:-1]]
    return [
        yaml.safe_dump(config_tree(Path(word)), sort_keys=False)
        if option == "--config" and Path(word).is_file()
        else word
        for option, word in zip(before, argv, strict=True)
    ]


def _spelled_all(attacks: Mapping[str, Attack]) -> dict[str, Any]:
    """Attacks as a config spells them, so that ``--print_config`` can."""
    return {name: _spelled(attack) for name, attack in attacks.items()}


def _spelled(part: Any) -> dict[str, Any]:  # noqa: ANN401 - an attack, or a dataclass in it
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    arguments = {name: _spelled(value) if is_dataclass(value) else value for name, value in values.items()}
    path = {"class_path": f"lit_privq.attacks.{type(part).__name__}"}
    return {**path, "init_args": arguments} if arguments else path
