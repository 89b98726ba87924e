"""What tracking costs, in CPU seconds and bytes: a study of the demo's size, its records as it runs and W&B's files
after it; and one training that is run alone, by WANDB_MODE.

python benchmarks/tracking.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lit_privq.tracking.records import StageRecord, add_row, add_summary, record_path, start_record

CONFIG = {"model": {f"option_{k}": "a value of some length" for k in range(60)}}  # 2.4 kB, as a resolved config
ABOUT = {"dataset": "digits", "net": "small_resnet-w16", "n_shadows": 16, "n_targets": 4}
EVERYONE, TARGETS = range(20), range(16, 20)
VARIANTS = {"none-32": EVERYONE} | {
    f"{method}-{bits}": models
    for method, models in {"adaround": EVERYONE, "descent": EVERYONE, "obc": TARGETS, "nearest": TARGETS}.items()
    for bits in ("4", "2", "1.58", "1")
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        n_runs = sum(len(models) for models in VARIANTS.values())
        started = time.process_time()
        for variant, models in VARIANTS.items():
            for model in models:
                record(root, variant, model)
        print(f"records of {n_runs} runs: {time.process_time() - started:.2f} CPU s, {kilobytes(root):,} kB")
        for variant, models in VARIANTS.items():
            for model in models:
                leave_files(root, variant, model)
        environment = {**os.environ, "WANDB_MODE": "offline"}
        command = [sys.executable, "-m", "lit_privq", "publish", str(root)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"publish, offline: {spent.ru_utime + spent.ru_stime:.1f} CPU s, {kilobytes(root / 'wandb'):,} kB")
    for models in ("0", "0:10"):
        for mode in ("disabled", "", "offline"):
            each = [fit(models, mode) for _ in range(3)]
            shown = ", ".join(f"{seconds:.1f}" for seconds in each)
            print(f"fit of models {models}, WANDB_MODE={mode or 'unset, no account'}: {shown} CPU s")


def fit(models: str, mode: str) -> float:
    """CPU seconds of a training on the digits that is run alone."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    command = [sys.executable, "-m", "lit_privq", "fit", "--config", "configs/shadow/digits.yaml"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(
            [*command, "--data.model_index", models, "--trainer.default_root_dir", root],
            check=True,
            env={**given, **({"WANDB_MODE": mode} if mode else {})},
            cwd=Path(__file__).parents[1],
            capture_output=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def record(root: Path, variant: str, model: int) -> None:
    """Everything that the jobs of one model write at one variant."""
    stage, n_rows = ("train", 30) if variant == "none-32" else ("quantize", 7)
    path = record_path(root, variant, model, stage)
    start_record(path, StageRecord(ABOUT, CONFIG))
    for row in range(n_rows):
        add_row(path, {"epoch": row, "train/loss": 1 / (row + 1)})
    add_summary(path, {"test/accuracy": 0.9})
    path = record_path(root, variant, model, "query")
    start_record(path, StageRecord(ABOUT, CONFIG))
    add_summary(path, {"test/accuracy": 0.9, "size/bytes": 80_000})


def leave_files(root: Path, variant: str, model: int) -> None:
    """A checkpoint and confidences of the demo's size."""
    for folder, end in (("checkpoints", "ckpt"), ("confidence", "npz")):
        path = root / folder / variant / f"{model:03d}.{end}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(80_000))


def kilobytes(folder: Path) -> int:
    """What its files occupy on disk, in blocks of 4 kB."""
    return sum(4 * -(-path.lstat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
