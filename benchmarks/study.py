"""Where the demo's seconds go, stage by stage; the other side trains, quantizes and queries one model at a time.

python benchmarks/study.py [--quick] [--json FILE]

Both sides run on all cores, one thread each, from a cold start. Stages are seconds of work summed over the workers.
The same models come out of both up to the order of floating-point sums, so after a whole training they agree as two
repeats do: the last rows hold accuracy and leakage beside each other.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
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
from lit_privq.study.tasks import workers

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
    record, finished = read_record(output), {id(maker): maker for maker in Ledger(output).makers.values()}.values()
    began = min(datetime.fromisoformat(job.finished).timestamp() - job.seconds for job in finished)
    stages = {stage: record["seconds"][stage] for stage in STAGES}
    start_up = max(0.0, began - datetime.fromisoformat(record["started"]).timestamp())  # the ledger keeps whole seconds
    return {
        "from the command to the first job: imports, choice of fleets (wall)": start_up,
        **{f"{stage} (all workers)": seconds for stage, seconds in stages.items()},
        "workers waiting for others, and starting": max(0.0, workers() * wall - sum(stages.values())),
        "CPU time of everything": sum(after[2:4]) - sum(before[2:4]),
        "whole study (wall)": wall,
    }


def by_target(output: Path) -> dict[tuple[str, ...], list[float]]:
    """All numbers of a study that stand in results.csv: a value per target."""
    found: dict[tuple[str, ...], list[float]] = {}
    with (output / "results.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                key = tuple(row[name] for name in ("method", "bits", "attacker", "attack", "metric"))
                found.setdefault(key, []).append(float(row["value"]))
    return found


def agreement(ours: Path, other: Path) -> list[Row]:
    """Full precision side by side, and the largest difference of all in units of the two spreads together."""
    a, b = by_target(ours), by_target(other)
    rows = []
    for metric, attack in (("accuracy", ""), ("auc", "lira_online_fixed"), ("tpr_at_0.01", "lira_online_fixed")):
        key = ("none", "32", "unaware" if attack else "", attack, metric)
        for side, values in (("fleets", a[key]), ("alone", b[key])):
            note = f"standard deviation over targets {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            title = f"{metric} of full precision, {side}" + (f", {attack}" if attack else "")
            rows.append(Row(title, statistics.mean(values), None, "share", note=note))
    apart = {
        key: abs(statistics.mean(a[key]) - statistics.mean(b[key])) / spread
        for key in a.keys() & b.keys()
        if len(a[key]) > 1 and len(b[key]) > 1 and (spread := statistics.stdev(a[key]) + statistics.stdev(b[key]))
    }
    if apart:
        worst = max(apart, key=lambda key: apart[key])
        note = f"largest of {len(apart)} differences of means over targets: {' '.join(filter(None, worst))}"
        rows.append(Row("results.csv, all of it", apart[worst], None, "sum of both standard deviations", note=note))
    return rows


def main() -> None:
    chosen = options(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / side for side in ("fleets", "alone")]
        sides = []
        for folder, changes in zip(folders, ({}, {"fleet": 1}), strict=True):
            folder.mkdir()
            sides.append(run(folder, study_file(folder, chosen.quick, **changes)))
        same = agreement(*(folder / "output" for folder in folders))
    ours, other = sides
    notes = {"workers waiting for others, and starting": "cores x wall, less the stages"}
    seconds = [Row(case, ours[case], other[case], "s", note=notes.get(case, "")) for case in ours]
    show([*seconds, *same], chosen.json)


if __name__ == "__main__":
    main()
