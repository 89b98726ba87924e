"""The same small study on all three engines, each beginning anew: results.csv byte for byte, and seconds.

python benchmarks/engines.py [--quick] [--json FILE]

The study is the tests' (`tests/conf/study/digits.yaml`): 6 models, two quantizers, queries, audit and page. Ray is a
cluster of two cores that the study starts here; SLURM's jobs run under submitit's local executor, each in a process of
its own that begins with the import of its libraries. --quick runs one of the quantizers only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rows import Row, options, show

CONF = Path(__file__).parents[1] / "tests/conf"
LOCAL_SLURM = """
import sys
from lit_privq.study import command, slurm_pool

class Pool(slurm_pool.SlurmPool):
    def __init__(self, root, environment, options):
        super().__init__(root, environment, options, cluster="local")

    def submit_ahead(self, stages):  # a local executor has no queue with dependencies
        pass

slurm_pool.SlurmPool = Pool
command.main(sys.argv[1:])
"""


def study_file(folder: Path, quick: bool) -> Path:
    """The tests' study, from a folder of its own."""
    study = yaml.safe_load((CONF / "study/digits.yaml").read_text())
    named = {key: str(CONF / "study" / study[key]) for key in ("shadow", "query", "audit")}
    rows = [{**row, "method": str(CONF / "study" / row["method"])} for row in study["quantize"]]
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**study, **named, "quantize": rows[: 1 if quick else None]}))
    return path


def run(engine: str, study: Path) -> tuple[bytes, float]:
    """results.csv of a study on an engine, and the seconds it took."""
    root = study.parent / engine
    argv = ["--config", str(study), "--output", str(root), "--jobs", "2", "--engine", engine]
    program = ["-c", LOCAL_SLURM] if engine == "slurm" else ["-m", "lit_privq", "study"]
    start = time.monotonic()
    environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, *program, *argv], check=True, env=environment, stdout=subprocess.DEVNULL)
    return (root / "results.csv").read_bytes(), time.monotonic() - start


def main() -> None:
    chosen = options(__doc__)
    with tempfile.TemporaryDirectory() as name:
        study = study_file(Path(name), chosen.quick)
        found = {engine: run(engine, study) for engine in ("local", "ray", "slurm")}
        jobs = len((study.parent / "local/jobs.jsonl").read_bytes().splitlines())
        first, _ = found["local"]
        rows = [Row("jobs of the study", jobs, None, "jobs"), Row("results.csv", len(first), None, "bytes")]
        for engine, (results, seconds) in found.items():
            rows.append(Row(f"{engine}: from the command to the page", seconds, None, "s"))
            rows.append(Row(f"{engine}: results.csv is that of local", float(results == first), None, "1 = yes"))
    show(rows, chosen.json)


if __name__ == "__main__":
    main()
