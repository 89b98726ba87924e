"""The verbs of the command line: what each does, an example, and where its ``main`` is; imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb.

    Args:
        module: whose ``main`` takes the arguments.
        does: one line of the help.
        example: the arguments behind the verb.
    """

    module: str
    does: str
    example: str


LIGHTNING = "lit_privq.cli"
"""Whose ``main`` also takes the verb itself."""

VERBS = {
    "fit": Verb(
        LIGHTNING,
        "train shadow models, or quantize them",
        "--config configs/shadow/digits.yaml --data.model_index 3",
    ),
    "validate": Verb(LIGHTNING, "accuracy of a checkpoint", "--config configs/shadow/digits.yaml --ckpt_path X.ckpt"),
    "test": Verb(LIGHTNING, "the same, on the test set", "--config configs/shadow/digits.yaml --ckpt_path X.ckpt"),
    "predict": Verb(LIGHTNING, "query a checkpoint", "--config configs/query/digits.yaml --ckpt_path X.ckpt"),
    "audit": Verb(
        "lit_privq.audit.command",
        "attack confidences",
        "--config configs/audit/digits.yaml --input DIR/confidence --output DIR",
    ),
    "study": Verb("lit_privq.study.command", "all of it, resumable", "--config configs/study/digits.yaml --output DIR"),
    "publish": Verb("lit_privq.tracking.command", "a study to Weights & Biases", "DIR"),
    "job": Verb("lit_privq.study.job", "one job of a study, for any scheduler", "train-000-009 --output DIR"),
    "report": Verb("lit_privq.report.command", "draw the page again", "DIR"),
    "export": Verb("lit_privq.export.command", "pack a quantized checkpoint", "--ckpt X.ckpt --output X.safetensors"),
    "indicator": Verb(
        "lit_privq.indicator.command",
        "rank quantizers without an attack",
        "--config configs/indicator/mis_synthetic.yaml --output DIR",
    ),
    "reproduce": Verb("lit_privq.reproduce", "run what shows a claim, and compare", "--list"),
    "completion": Verb("lit_privq.completion", "print a script that completes verbs and options in a shell", "bash"),
}
