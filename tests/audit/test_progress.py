from __future__ import annotations

import io

from lit_privq.audit.progress import AuditProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_overwrite_each_other_on_a_terminal_and_notes_stay() -> None:
    stream = Terminal()
    progress = AuditProgress(stream)
    progress.say("reading")
    progress.note("labels are one-hot")
    progress.counted("intervals", 3)(0)
    first, second = stream.getvalue().split("\n")
    assert first.endswith("\r\x1b[Kaudit: note: labels are one-hot")
    assert second.endswith("intervals, target 1/3")


def test_every_line_stands_alone_in_a_file() -> None:
    stream = io.StringIO()
    progress = AuditProgress(stream)
    progress.say("reading")
    progress.note("so")
    assert [line.split("  ")[-1] for line in stream.getvalue().splitlines()] == ["reading", "audit: note: so"]
    assert "\x1b" not in stream.getvalue()
