"""The page of a study or an audit: tables, figures and one static file; NumPy, matplotlib and jinja2 only."""

from lit_privq.report.command import build

__all__ = ["build"]
