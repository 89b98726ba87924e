"""Attack confidences and say what leaks; see :func:`lit_privq.audit.command.main`."""

from lit_privq.audit.command import main
from lit_privq.audit.options import Audit

__all__ = ["Audit", "main"]
