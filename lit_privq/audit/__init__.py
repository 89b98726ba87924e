"""Attack confidences and say what leaks; see :func:`lit_privq.audit.command.main`."""

from lit_privq.audit.command import Audit, main

__all__ = ["Audit", "main"]
