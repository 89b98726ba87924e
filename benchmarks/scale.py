"""What a large study costs its driver: planning, starting when it is finished, and taking receipts.

python benchmarks/scale.py [--quick] [--json FILE]

A study of 1,600 models, one per job, ten methods at five precisions each: about 100,000 jobs and 160,000 files, which
are empty, on this machine's disk. Seconds are the driver's own CPU time, so that others at work do not count. A shared
file system answers later: see docs/scale.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from made_up import study_file
from rows import Row, options, show

from lit_privq.study.command import main as study
from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import Fleets, Job, plan
from lit_privq.study.receipt import Receipt, file_stamp
from lit_privq.study.study_file import read_study
from lit_privq.study.tasks import Hooks

HERE = Path(__file__).parent
METHODS = [f"m{k}" for k in range(10)]
NOTHING = Hooks("scale:nothing", "scale:choose", "made_up:facts")


def nothing(_: object) -> None:
    """No job is left to do."""


def choose(*_: object) -> dict[str, Any]:
    """One model at once."""
    return {"size": 1, "why": "the benchmark says so"}


def finish(jobs: list[Job], root: Path) -> Iterator[Receipt]:
    """Receipts of jobs that wrote empty files."""
    ledger = Ledger(root)
    for job in jobs:
        for path in job.outputs:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        stamps = {path: file_stamp(root / path) for path in job.outputs}
        recipes = {product.path: product.recipe for product in job.products}
        receipt = Receipt(job.name, stamps, ledger.hashes(job), 1.0, recipes=recipes)
        ledger.makers |= dict.fromkeys(job.outputs, receipt)
        yield receipt


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing on standard output and error."""
    kept = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        sys.stdout = sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = kept


def main() -> None:
    chosen = options(__doc__)
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), Path(name) / "runs"
        n_models = 160 if chosen.quick else 1600
        config = study_file(folder, METHODS, [8, 4, 3, 2, 1], n_models - 100, 100, fleet=1)
        read = read_study(config)
        jobs: list[Job] = []
        planning = seconds(lambda: jobs.extend(plan(read, root, Fleets(1))))
        root.mkdir()
        lines = [receipt.line() for receipt in finish(jobs, root)]
        (root / "jobs.jsonl").write_bytes(b"".join(lines))
        argv = ["--config", str(config), "--output", str(root), "--jobs", "1"]
        sys.path.append(str(HERE))
        with quiet():
            study(argv, NOTHING)  # facts and choices, once
            starting = seconds(lambda: study(argv, NOTHING))
        bytes_each = len(b"".join(lines)) / len(lines)
        rows = [
            Row("jobs", len(jobs), None, "jobs"),
            Row("planning all jobs", planning, None, "CPU s"),
            Row("starting a study that is finished, to its end", starting, None, "CPU s"),
            Row("ledger", bytes_each * len(lines) / 1e6, None, "MB", note=f"{bytes_each:.0f} bytes a job"),
        ]
    show(rows, chosen.json)


if __name__ == "__main__":
    main()
