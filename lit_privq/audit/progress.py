"""Progress of an audit on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO


class AuditProgress:
    """What an audit does, with the seconds since its start: one line that is overwritten on a terminal, else many."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start = time.monotonic()

    def say(self, what: str) -> None:
        """Show a line."""
        line = f"audit {time.monotonic() - self._start:6.1f} s  {what}"
        self._stream.write(f"\r\x1b[K{line}" if self._stream.isatty() else f"{line}\n")
        self._stream.flush()

    def note(self, what: str) -> None:
        """Show a line that stays."""
        self._stream.write("\r\x1b[K" * self._stream.isatty() + f"audit: note: {what}\n")
        self._stream.flush()

    def counted(self, what: str, total: int) -> Callable[[int], None]:
        """A function that shows a line with the number of targets that are done."""
        return lambda done: self.say(f"{what}, target {done + 1}/{total}")
