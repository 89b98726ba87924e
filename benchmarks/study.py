"""Where the demo's seconds go, stage by stage; the other side trains, quantizes and queries one model at a time.

python benchmarks/study.py [--quick] [--json FILE]

Both sides run on all cores, one thread each, from a cold start. Stages are seconds of work summed over the workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rows import Row, options, show

from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import STAGES
from lit_privq.study.record import read_record

CONFIGS = Path(__file__).parent.parent / "configs"


def study_file(folder: Path, quick: bool, **changes: Any) -> Path:  # noqa: ANN401  # values of a YAML file
    """The demo's study with changes, in a folder of its own."""
    study = yaml.safe_load((CONFIGS / "study/digits.yaml").read_text(encoding="utf-8"))
    if quick:
        rows = [{**study["quantize"][-1], "bits": [2]}]
        study |= {"n_shadows": 4, "n_targets": 1, "quantize": rows}
    study |= {key: str(CONFIGS / "study" / study[key]) for key in ("shadow", "query", "audit")}
    study["quantize"] = [{**row, "method": str(CONFIGS / "study" / row["method"])} for row in study["quantize"]]
    path = folder / "study.yaml"
    path.write_text(json.dumps({**study, **changes}), encoding="utf-8")  # JSON is YAML
    return path


def run(folder: Path, study: Path) -> dict[str, float]:
    """Run a study and return its seconds by stage."""
    output = folder / "output"
    command = [sys.executable, "-m", "lit_privq", "study", "--config", str(study), "--output", str(output)]
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "WANDB_MODE": "offline"})
    wall, after = time.perf_counter() - start, os.times()
    record, finished = read_record(output), Ledger(output).records.values()
    began = min(datetime.fromisoformat(job.finished).timestamp() - job.seconds for job in finished)
    stages = {stage: record["seconds"][stage] for stage in STAGES}
    start_up = max(0.0, began - datetime.fromisoformat(record["started"]).timestamp())  # the ledger keeps whole seconds
    return {
        "from the command to the first job: imports, choice of fleets (wall)": start_up,
        **{f"{stage} (all workers)": seconds for stage, seconds in stages.items()},
        "workers waiting for others, and starting": max(0.0, record["choices"]["jobs"] * wall - sum(stages.values())),
        "CPU time of everything": sum(after[2:4]) - sum(before[2:4]),
        "whole study (wall)": wall,
    }


def main() -> None:
    chosen = options(__doc__)
    sides = []
    for changes in ({}, {"fleet": 1}):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sides.append(run(folder, study_file(folder, chosen.quick, **changes)))
    ours, other = sides
    notes = {"workers waiting for others, and starting": "cores x wall, less the stages"}
    show([Row(case, ours[case], other[case], "s", note=notes.get(case, "")) for case in ours], chosen.json)


if __name__ == "__main__":
    main()
