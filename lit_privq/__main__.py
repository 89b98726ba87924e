"""One command line: Lightning's verbs and our own. Nothing heavy is imported before the verb is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

_VERBS = {
    "fit": (
        "lit_privq.cli",
        "train shadow models, or quantize them",
        "--config configs/shadow/digits.yaml --data.model_index 3",
    ),
    "validate": ("lit_privq.cli", "accuracy of a checkpoint", "--config configs/shadow/digits.yaml --ckpt_path X.ckpt"),
    "test": ("lit_privq.cli", "the same, on the test set", "--config configs/shadow/digits.yaml --ckpt_path X.ckpt"),
    "predict": ("lit_privq.cli", "query a checkpoint", "--config configs/query/digits.yaml --ckpt_path X.ckpt"),
    "audit": (
        "lit_privq.audit",
        "attack confidences",
        "--config configs/audit/digits.yaml --input DIR/confidence --output DIR",
    ),
    "study": ("lit_privq.study", "all of it, resumable", "--config configs/study/digits.yaml --output DIR"),
    "report": ("lit_privq.report.command", "draw the page again", "DIR"),
    "export": ("lit_privq.export", "pack a quantized checkpoint", "--ckpt X.ckpt --output X.safetensors"),
}
_LIGHTNING = "lit_privq.cli"
EXAMPLES = {verb: example for verb, (_, _, example) in _VERBS.items()}


def usage() -> str:
    """The page that ``--help`` shows."""
    lines = [
        "usage: python -m lit_privq VERB [options]",
        "",
        "How much privacy does post-training quantization buy, and at what cost?",
        "",
    ]
    for verb, (_, does, example) in _VERBS.items():
        lines += [f"  {verb:9} {does}", f"            e.g. python -m lit_privq {verb} {example}"]
    return "\n".join([*lines, "", "python -m lit_privq VERB --help explains the options of a verb."])


def run(argv: Sequence[str]) -> int:
    """Run one verb; what a user can put right is one sentence on stderr and exit status 2."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb not in _VERBS:
        print(f"lit_privq: error: no verb {verb!r}; there are {', '.join(_VERBS)}", file=sys.stderr)
        return 2
    module = _VERBS[verb][0]
    try:
        main: Callable[[list[str]], None] = import_module(module).main
        main([verb, *rest] if module == _LIGHTNING else rest)
    except (ValueError, OSError) as error:
        print(f"lit_privq: error: {_said(error)}", file=sys.stderr)
        if os.environ.get("LIT_PRIVQ_TRACEBACK"):
            raise
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _said(error: ValueError | OSError) -> str:
    """An error as one sentence; what the operating system says gets the path first and a remedy behind it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}; check the path, its permissions and the space left"
    return str(error)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
