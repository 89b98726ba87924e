"""One command line: Lightning's verbs and our own. Nothing heavy is imported before the verb is known."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from lit_privq import __version__
from lit_privq.artifacts.atomic import is_full_disk
from lit_privq.verbs import LIGHTNING, VERBS


def usage() -> str:
    """The page that ``--help`` shows."""
    lines = [
        "usage: python -m lit_privq VERB [options]",
        "",
        "How much privacy does post-training quantization buy, and at what cost?",
        "",
    ]
    for name, verb in VERBS.items():
        lines += [f"  {name:9} {verb.does}", f"            e.g. python -m lit_privq {name} {verb.example}"]
    return "\n".join(
        [*lines, "", "python -m lit_privq VERB --help explains its options; --version says which this is."]
    )


def run(argv: Sequence[str]) -> int:
    """Run one verb; what a user can put right is one sentence on stderr and exit status 2.

    Args:
        argv: the verb and its options.

    Returns:
        The exit status: 0, 2 after an error that the message explains, 130 after Ctrl-C.

    Raises:
        SystemExit: with the status of a verb that ends itself; 143 after SIGTERM.
    """
    try:
        with _ended_by_sigterm():
            try:
                return _run(argv)
            finally:
                sys.stdout.flush()  # here, so that a closed pipe is found here
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 0
        if not isinstance(error, ValueError | OSError) and not is_full_disk(error):
            raise  # a fault of ours
        print(f"lit_privq: error: {_said(error)}", file=sys.stderr)
        if os.environ.get("LIT_PRIVQ_TRACEBACK"):
            raise
        return 2
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    """Run one verb, its errors as exceptions."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"lit_privq {__version__}")
        return 0
    name, *rest = argv
    if name not in VERBS:
        raise ValueError(f"no verb {name!r}; there are {', '.join(VERBS)}")
    module = VERBS[name].module
    main: Callable[[list[str]], None] = import_module(module).main
    main([name, *rest] if module == LIGHTNING else rest)
    return 0


def script() -> None:
    """The command ``lit_privq``, which finds modules in the current folder as ``python -m lit_privq`` does."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # text, as all of sys.path
    _start()


def _start() -> None:
    argv, sys.argv[0] = sys.argv[1:], "lit_privq"  # parsers within parsers name themselves after the program
    sys.exit(run(argv))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End with status 143 on SIGTERM, as a shell expects; Lightning alone would end with 0.

    Lightning calls this handler behind its own. It ignores SIGINT once a training was interrupted, which a caller in
    this process would inherit: both handlers are put back.
    """

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    interrupted, before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has left, such as ``head``; then nothing more is written to it."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    left = any(event & select.POLLERR for _, event in output.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return left


def _said(error: Exception) -> str:
    """An error as one sentence; what the operating system says gets the path first and a remedy behind it."""
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    if is_full_disk(error):
        return f"{where}no space is left on the device; make room, and run the same command again"
    if isinstance(error, OSError) and error.strerror:
        return f"{where}{error.strerror.lower()}; check the path and its permissions"
    return str(error)


if __name__ == "__main__":
    _start()
