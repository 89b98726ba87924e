"""``python -m lit_privq publish``: a study's folder to Weights & Biases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lit_privq.tracking.live import said_of
from lit_privq.tracking.publish import publish
from lit_privq.tracking.runs import mode

_EXAMPLE = """example:
  python -m lit_privq publish runs/digits
      one run for each model and variant, and one for the study; repeated, it makes no second ones
"""


def parser() -> argparse.ArgumentParser:
    """The parser of ``publish``."""
    made = argparse.ArgumentParser(
        prog="python -m lit_privq publish",
        description="Make Weights & Biases runs of a study's folder, finished or not: uploaded with an account, else "
        "as files for `wandb sync`.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("directory", metavar="DIR", type=Path, help="folder of a study, or of single commands")
    made.add_argument("--upload", action="store_true", help="upload checkpoints and confidences, not references")
    return made


def main(argv: Sequence[str]) -> None:
    """``python -m lit_privq publish DIR``.

    Raises:
        ValueError: if W&B fails; the message says how.
    """
    options = parser().parse_args(argv)
    how = mode()
    if how == "disabled":
        raise ValueError("WANDB_MODE is disabled, so nothing is published; unset it, or set it to online or offline")
    how = "offline" if how == "records" else how
    try:
        n_runs = publish(options.directory, how, options.upload)
    except (OSError, ValueError):
        raise
    except Exception as error:  # W&B's own kinds share no base
        raise ValueError(
            f"Weights & Biases failed: {' '.join(str(error).split())}; run the same again later"
        ) from error
    print(_what_was_done(options.directory, how, n_runs))


def share(root: Path) -> str:
    """Publish a study at its end as WANDB_MODE says; returns the line that tells of it, and never fails.

    Args:
        root: the study's folder.

    Returns:
        What was done, or how to do it; empty with WANDB_MODE=disabled.
    """
    how = mode()
    if how == "disabled":
        return ""
    if how == "records":
        return f"Weights & Biases: `python -m lit_privq publish {root}` uploads this study, after `wandb login`"
    try:
        return _what_was_done(root, how, publish(root, how))
    except Exception as error:  # nothing that W&B does may fail a study
        return said_of(error, root)


def _what_was_done(root: Path, how: str, n_runs: int) -> str:
    if how == "offline":
        return (
            f"Weights & Biases: {n_runs} runs in {root / 'wandb'}; `wandb sync {root}/wandb/offline-run-*` uploads them"
        )
    return f"Weights & Biases: {n_runs} runs are uploaded, in the group of the study"
