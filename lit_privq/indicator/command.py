"""``python -m lit_privq indicator``: a study of the MIS indicator, from its file to its tables and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jsonargparse

from lit_privq.arguments import config_parser, in_order, read
from lit_privq.indicator.claims import read_folders, write_claims
from lit_privq.indicator.exhibits import draw_exhibits
from lit_privq.indicator.study import IndicatorStudy, run_study

_EXAMPLE = """examples:
  python -m lit_privq indicator --config configs/indicator/mis_synthetic.yaml --output runs/mis_synthetic
      runs what the folder does not hold yet, then writes tables and figures
  python -m lit_privq indicator --folders runs/mis_synthetic runs/mis_molecules --output docs/results/mis
      writes tables and figures of finished studies again
"""


def main(argv: Sequence[str]) -> None:
    """Run a study of the indicator, or show what studies have found.

    Args:
        argv: ``--config FILE --output DIR`` or ``--folders DIR DIR --output DIR``.

    Raises:
        ValueError: if a value in the file, or an option, is wrong.
        FileNotFoundError: if a file of the data, or a folder of results, is missing.
        SystemExit: with status 0 if help was asked for.
    """
    options = parse(argv)
    output, study = options.output, IndicatorStudy(options.experiments, options.finite)
    if not options.folders:
        if not study.experiments and study.finite is None:
            raise ValueError(
                "there is nothing to run; give --config with a file of configs/indicator, or --folders of finished ones"
            )
        run_study(study, output, Path(options.data_root or os.environ.get("LIT_PRIVQ_DATA") or "datasets"))
    show(options.folders or [output], output)


def show(folders: Sequence[Path], output: Path) -> None:
    """Write the table of claims and draw the exhibits from stored runs.

    Args:
        folders: of studies.
        output: where mis.md, claims.json and figures/ go.
    """
    runs, truth = read_folders(folders)
    write_claims(runs, truth, output)
    draw_exhibits(runs, truth, output / "figures")
    print(output / "mis.md")


def parse(argv: Sequence[str]) -> jsonargparse.Namespace:
    """Options from a command line, the study file read and its parts built.

    Raises:
        ValueError: if an option is unknown or a value cannot be used.
        SystemExit: after ``--help`` or ``--print_config``.
    """
    return read(parser(), in_order(argv, words=["--folders"]))


def parser() -> jsonargparse.ArgumentParser:
    """The parser of the verb's options."""
    does = "Rank quantizers by the MIS indicator, and hold the ranking against LiRA and against the truth."
    made = config_parser("indicator", does, _EXAMPLE, config="the study file, with any of the options below")
    written = "folder of what is written; what it holds is not run again"
    made.add_argument("--output", type=Path, required=True, help=written)
    where = "where the data sets lie (default: $LIT_PRIVQ_DATA, or else ./datasets)"
    made.add_argument("--data_root", "--data.root", type=Path, help=where)
    made.add_argument("--folders", type=Path, nargs="+", help="finished studies, to be shown without running any")
    made.add_class_arguments(IndicatorStudy)
    return made
