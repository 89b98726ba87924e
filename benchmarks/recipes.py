"""The fast recipe beside the paper's: accuracy and leakage of the same study trained by either.

python benchmarks/recipes.py --root DATA [--output FOLDER] [--quick]

CIFAR-10, the residual net of width 16, 16 shadows and 2 targets, on so many of the first training images and so many
epochs as a machine without a GPU can bear; the schedules are scaled to them. An epoch costs the same by either. Started
again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from rows import hardware

from lit_privq.artifacts.config import config_tree
from lit_privq.study.record import commit

CONFIGS = Path(__file__).parent.parent / "configs"
BATCH = 128


def study_of(recipe: str, epochs: int, pool_size: int, folder: Path) -> Path:
    """A study of a shipped recipe, scaled down."""
    shadow = config_tree(CONFIGS / f"shadow/{recipe}.yaml")
    data, model, trainer = shadow["data"], shadow["model"]["init_args"], shadow["trainer"]
    data |= {"batch_size": BATCH, "calibration_size": min(1024, pool_size // 4)}
    data["dataset"] = {"class_path": "lit_privq.data.CIFAR10", "init_args": {"pool_size": pool_size}}  # no canaries
    net = {"num_classes": 10, "in_channels": 3, "stages": 3, "width": 16}
    model["net"] = {"class_path": "lit_privq.models.small.small_resnet", "init_args": net}
    schedule = model["scheduler"]["init_args"]
    if "T_max" in schedule:
        schedule["T_max"] = epochs
    else:  # the shipped rate belongs to batches of 512
        rate = model["optimizer"]["init_args"]["lr"] * BATCH / 512
        model["optimizer"]["init_args"]["lr"] = schedule["max_lr"] = rate
        schedule["total_steps"] = epochs * -(-(pool_size // 2) // BATCH)
    trainer |= {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "precision": "32-true"}
    query = config_tree(CONFIGS / "query/cifar10.yaml")
    query["data"] |= {"n_queries": 2, "dataset": data["dataset"], "calibration_size": data["calibration_size"]}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "shadow.yaml", shadow)
    _write(folder / "query.yaml", query)
    study = {
        "name": recipe,
        "shadow": "shadow.yaml",
        "query": "query.yaml",
        "audit": str(CONFIGS / "audit/default.yaml"),
        "n_shadows": 16,
        "n_targets": 2,
        "fleet": 1,
        "quantize": [{"method": str(CONFIGS / "ptq/descent.yaml"), "bits": [4, 2, 1.58], "adaptive": False}],
    }
    _write(folder / "study.yaml", study)
    return folder / "study.yaml"


def _write(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # JSON is YAML
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == tree


def table(recipe: str, epochs: int, output: Path) -> list[str]:
    """A line per precision: mean and standard deviation over the targets."""
    with (output / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for method, bits in dict.fromkeys((row["method"], row["bits"]) for row in rows):
        cells = [
            _share([row["value"] for row in rows if _is(row, method, bits, metric, attack)])
            for metric, attack in (
                ("accuracy", ""),
                ("auc", "lira_online_fixed"),
                ("tpr_at_0.01", "lira_online_fixed"),
                ("tpr_at_0.01", "lira_online_shrunk"),
            )
        ]
        name = "full precision" if method == "none" else f"{method}, {bits} bits"
        lines.append(f"| {recipe}, {epochs} epochs | {name} | {' | '.join(cells)} |")
    return lines


def _is(row: dict[str, str], method: str, bits: str, metric: str, attack: str) -> bool:
    attacked = row["attacker"] in ("", "unaware")
    return attacked and (row["method"], row["bits"], row["metric"], row["attack"]) == (method, bits, metric, attack)


def _share(values: list[str]) -> str:
    numbers = [float(value) for value in values if value]
    if not numbers:
        return "–"
    spread = f" ± {statistics.stdev(numbers):.3f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=os.environ.get("LIT_PRIVQ_DATA", "datasets"), help="has CIFAR-10")
    parser.add_argument("--output", type=Path, default="runs/recipes", help="folder for both studies")
    parser.add_argument("--quick", action="store_true", help="two epochs on 1000 images, to see that it runs")
    chosen = parser.parse_args()
    if not (chosen.root / "cifar-10-batches-py").is_dir():
        print(f"not measured: no cifar-10-batches-py in {chosen.root}; set --root")
        return
    pool_size = 1000 if chosen.quick else 5000
    lines = []
    for recipe, epochs in (("cifar10", 2 if chosen.quick else 30), ("cifar10_gpu", 2 if chosen.quick else 16)):
        folder = chosen.output / recipe
        study = study_of(recipe, epochs, pool_size, folder)
        words = ["--config", str(study), "--output", str(folder / "runs"), "--data_root", str(chosen.root)]
        subprocess.run([sys.executable, "-m", "lit_privq", "study", *words], check=True)
        lines += table(recipe, epochs, folder / "runs")
    print(f"{hardware()}; commit {commit() or 'unknown'}; pool of the first {pool_size} images, batches of {BATCH}\n")
    attacks = "AUC, LiRA online fixed | TPR at 1 % FPR, online fixed | TPR at 1 % FPR, shrunk variance"
    print(f"| recipe | precision | test accuracy | {attacks} |\n|---|---|--:|--:|--:|--:|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
