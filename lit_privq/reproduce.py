"""``python -m lit_privq reproduce``: run what shows a claim of this repository, and compare with the stored value."""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse

from lit_privq.artifacts.config import read_tree
from lit_privq.artifacts.results import ALL, POOL, Results, read_results
from lit_privq.artifacts.variant import Variant

CLAIMS = Path("docs/claims.yaml")


@dataclass(frozen=True)
class Quantity:
    """A number of results.csv, the mean over its targets.

    Args:
        variant: name of the variant, such as ``descent-1.58``.
        metric: such as ``tpr_at_0.01``.
        attacker: empty where nobody attacks.
        attack: likewise.
        slice: the members that count.
        against: whose non-members set the threshold.
    """

    variant: str
    metric: str
    attacker: str = ""
    attack: str = ""
    slice: str = ALL
    against: str = POOL

    def of(self, results: Results) -> float:
        """The mean over the targets that have a value.

        Raises:
            ValueError: if none has.
        """
        key = (self.metric, self.attacker, self.attack, self.slice, self.against)
        cells = results.cells(Variant.parse(self.variant), *key)
        if not cells:
            raise ValueError(f"results.csv must hold {self}; it has no value of it")
        return statistics.fmean(cell.value for cell in cells.values())


@dataclass(frozen=True)
class Claim:
    """A sentence of this repository, and what shows it.

    Args:
        says: the sentence.
        run: what Python is called with; ``{output}`` is the folder that claims of one study share.
        minutes: about how long that takes on two cores.
        study: name of that folder; empty where the run's exit status says all.
        value: the number that the sentence rests on.
        less: what is subtracted from it, for a claim about a difference.
        expected: the number as it was measured.
        tolerance: how far a run may be from it, in the number's own unit.
    """

    says: str
    run: str
    minutes: float
    study: str = ""
    value: Quantity | None = None
    less: Quantity | None = None
    expected: float = 0.0
    tolerance: float = 0.0

    @property
    def target(self) -> str:
        """What a run has to give, as people write it."""
        return f"{self.expected:g} ± {self.tolerance:g}" if self.value else "exit status 0"

    def command(self, output: Path) -> list[str]:
        """The command line, for this interpreter."""
        return [sys.executable, *shlex.split(self.run.format(output=shlex.quote(str(output / self.study))))]

    def measure(self, output: Path) -> float | None:
        """The number that a finished run gives; None if the claim has none."""
        if self.value is None:
            return None
        results = read_results(output / self.study / "results.csv")
        return self.value.of(results) - (self.less.of(results) if self.less else 0.0)


@dataclass(frozen=True)
class _Claims:
    claims: dict[str, Claim] = field(default_factory=dict)


def read_claims(path: Path = CLAIMS) -> Mapping[str, Claim]:
    """Every claim by its name.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if an entry is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the claims are in {path} of a clone of the repository; there is none here, go there")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(_Claims)
    try:
        tree: Any = parser.parse_object({"claims": read_tree(path)})
        claims: dict[str, Claim] = parser.instantiate(tree).claims
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return claims


def main(argv: Sequence[str]) -> None:
    """List the claims, or run some of them and compare.

    Args:
        argv: the options of ``reproduce``.

    Raises:
        ValueError: for a name that no claim has.
        FileNotFoundError: outside a clone of the repository.
        SystemExit: with status 1 if a claim was not met.
    """
    options = parser().parse_args(argv)
    claims = read_claims()
    if options.list or not options.claims:
        print("\n".join(_listed(claims)))
        return
    if unknown := [name for name in options.claims if name not in claims]:
        raise ValueError(f"no claim is called {unknown[0]}; there are {', '.join(claims)}")
    met = [reproduce(name, claims[name], options.output) for name in options.claims]  # all are run
    if not all(met):
        raise SystemExit(1)


def reproduce(name: str, claim: Claim, output: Path) -> bool:
    """Run what shows a claim and print whether it was met.

    Args:
        name: of the claim.
        claim: the claim.
        output: folder of all runs; a study that is finished there is not run again.
    """
    print(f"{name}: {claim.says}\n  {shlex.join(['python', *claim.command(output)[1:]])}", flush=True)
    status = subprocess.run(claim.command(output), check=False).returncode
    if status:
        print(f"{name}: not met: the command ended with status {status}")
        return False
    found = claim.measure(output)
    if found is None:
        print(f"{name}: met: the command ended with status 0")
        return True
    met = abs(found - claim.expected) <= claim.tolerance
    print(f"{name}: {'met' if met else 'not met'}: {found:.4g}, expected {claim.target}")
    return met


def _listed(claims: Mapping[str, Claim]) -> list[str]:
    """A line for each claim: its name, the minutes and the value to be met, the sentence; and how to run one."""
    width = max(map(len, claims), default=0)
    lines = [
        f"{name:{width}}  {f'about {claim.minutes:g} min':12}  {claim.target:15}  {claim.says}"
        for name, claim in claims.items()
    ]
    return [*lines, f"python -m lit_privq reproduce {next(iter(claims), 'CLAIM')} runs one and compares"]


def parser() -> argparse.ArgumentParser:
    """The options of ``reproduce``."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq reproduce",
        description="Run what shows a claim of this repository, and compare the number with the stored one.",
        epilog="Run it in a clone of the repository. A study that is finished below --output is not run again.",
    )
    made.add_argument("claims", nargs="*", metavar="CLAIM", help="names of claims (see --list)")
    made.add_argument("--list", action="store_true", help="print every claim, and about how long it takes")
    made.add_argument("--output", type=Path, default=Path("runs/reproduce"), help="folder of all runs")
    return made
