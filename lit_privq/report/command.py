"""``python -m lit_privq report``: the page of a study or an audit, drawn again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

_EXAMPLE = """example:
  python -m lit_privq report runs/demo
      draws runs/demo/figures/ and runs/demo/report.html again from runs/demo/results.csv
"""


def build(directory: Path) -> Path:
    """Draw the page of a study or an audit from what is in its folder.

    Args:
        directory: holds results.csv; study.json, metrics.json and the scores of the audit are used where they are.

    Returns:
        The path of report.html. The figures lie beside it in ``figures/``, as PNG and SVG.

    Raises:
        FileNotFoundError: if the folder or its results.csv is missing.
        ValueError: if a file in it is damaged.
    """
    from lit_privq.report.page import draw  # here, so that the help costs no matplotlib

    return draw(directory)


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m lit_privq report DIR``."""
    print(build(parser().parse_args(argv).directory))


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq report",
        description="Draw the figures and the page of a study or an audit again, from what is in its folder.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("directory", metavar="DIR", type=Path, help="folder that holds results.csv")
    return made
