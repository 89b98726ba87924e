"""A study: the commands a person could type, planned, run on all cores and resumed."""

from __future__ import annotations


def main(argv: list[str]) -> None:
    """Run ``study`` with these arguments; see ``python -m lit_privq study --help``."""
    from lit_privq.study.command import main as run  # here, so that variant names cost no import of the rest

    run(argv)
