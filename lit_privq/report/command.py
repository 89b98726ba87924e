"""``python -m lit_privq report``: the page of a study or an audit, drawn again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EXAMPLE = """example:
  python -m lit_privq report runs/demo
      draws runs/demo/figures/ and runs/demo/report.html again from runs/demo/results.csv
  python -m lit_privq report runs/demo --data configs/data/digits_canaries.yaml
      takes pictures of the most exposed examples from the data, keeps them in runs/demo/exposed.npz and draws
  python -m lit_privq report runs/cifar10 runs/cifar100 --output runs/both
      draws one page over several finished studies
  python -m lit_privq report runs/demo --excerpt results/demo
      copies what the page is drawn from, without the scores of single examples, for a repository
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


def build_several(directories: Sequence[Path], output: Path) -> Path:
    """Draw one page over several finished studies, from the results.csv, metrics.json and study.json of each.

    Args:
        directories: folders of the studies.
        output: folder of report.html and its figures, outside of all of them.

    Returns:
        The path of report.html.

    Raises:
        FileNotFoundError: if a folder, its results.csv or its metrics.json is missing.
        ValueError: if a file is damaged or of another version, two studies share a name, or output lies in one.
    """
    from lit_privq.report.several import draw  # here, so that the help costs no matplotlib

    return draw(directories, output)


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m lit_privq report DIR``, or several and ``--output``."""
    options = parser().parse_args(argv)
    if options.output is None and len(options.directories) > 1:
        raise ValueError(f"a page over {len(options.directories)} studies needs a folder; got none, add --output DIR")
    for name in ("data", "excerpt"):
        if options.output and getattr(options, name):
            raise ValueError(f"--{name} is for one study; got it beside --output, draw each study by itself first")
    if options.output is None:
        excerpt = _keep_excerpt(options.directories[0], options.excerpt) if options.excerpt else None
        if options.data:
            _keep_pictures(options.directories[0], options.data, options.data_root)
        print(build(options.directories[0]))
        if excerpt:
            print(excerpt)
    else:
        print(build_several(options.directories, options.output))


def _keep_pictures(directory: Path, config: Path, root: Path | None) -> None:
    """Take pictures from the data; a page without them is better than none."""
    from lit_privq.report.pictures import keep  # here, as it imports torch

    try:
        keep(directory, config, root)
    except FileNotFoundError as error:
        print(f"the page has no new pictures of exposed examples: {error}", file=sys.stderr)


def _keep_excerpt(directory: Path, output: Path) -> Path:
    from lit_privq.report.excerpt import keep  # here, as the help needs none of it

    return keep(directory, output)


def parser() -> argparse.ArgumentParser:
    """The parser of the verb's options."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq report",
        description="Draw the figures and the page of a study or an audit again, from what is in its folder.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("directories", metavar="DIR", type=Path, nargs="+", help="folder that holds results.csv")
    made.add_argument("--output", type=Path, help="folder of the page over several studies")
    made.add_argument("--excerpt", type=Path, help="folder for a copy of what the page is drawn from")
    made.add_argument("--data", type=Path, help="config of the data, for pictures of the most exposed examples")
    made.add_argument("--data_root", type=Path, help="where data sets lie; else the config's, or LIT_PRIVQ_DATA")
    return made
