import csv
import json
from pathlib import Path

import numpy as np
import pytest

VARIANTS: dict[str, list[tuple[float, float]]] = {
    "none": [(32, 32)],
    "nearest": [(2, 2)],
    "adaround": [(2, 2), (1.58, 1.58), (1.58, 8)],
}
ATTACKS = ("lira_online", "lira_online_fixed", "lira_offline", "lira_offline_fixed", "threshold")
HEADER = "dataset,net,target,method,bits,last_bits,attacker,attack,metric,value,low,high"


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an audit leaves of a tiny study: results.csv, study.json, metrics.json and the scores."""
    directory = tmp_path_factory.mktemp("tiny_study")
    rng = np.random.default_rng(0)
    targets = np.arange(8, 11)
    members = np.stack([rng.permutation(np.arange(300) % 2 == 0) for _ in targets])  # (targets, examples)
    rows: list[list[object]] = [list(HEADER.split(","))]
    for method, precisions in VARIANTS.items():
        for bits, last_bits in precisions:
            name = f"{method}-{bits:g}" + (f"-last{last_bits:g}" if last_bits != bits else "")
            start = ["digits", "mlp"]
            model = [method, f"{bits:g}", f"{last_bits:g}"]
            for target in targets:
                rows.append(
                    [*start, target, *model, "", "", "accuracy", 0.85 + bits / 320 + rng.normal(0, 0.001), "", ""]
                )
            for attacker in ("unaware",) if method == "none" else ("unaware", "adaptive"):
                scores = {attack: rng.normal(size=members.shape) + members * bits / 16 for attack in ATTACKS}
                for attack, values in scores.items():
                    for row, inside, target in zip(values, members, targets, strict=True):
                        high, low = row[inside], np.sort(row[~inside])
                        measured: dict[str, object] = {
                            "auc": float(np.searchsorted(low, high).mean() / low.size),
                            "log_auroc": 0.5,
                            "tpr_at_0.001": "",
                            "tpr_at_0.01": float((high > low[-2]).mean()),
                        }
                        rows += [[*start, target, *model, attacker, attack, k, v, "", ""] for k, v in measured.items()]
                path = directory / "audit" / name / f"{attacker}.npz"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez(path, allow_pickle=False, targets=targets, members=members, **scores)
    with (directory / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    study = {"dataset": "digits", "net": "mlp", "n_shadows": 8, "n_targets": 3, "seconds": {"shadow": 1.0}}
    (directory / "study.json").write_text(json.dumps(study))
    (directory / "metrics.json").write_text("{}")
    return directory
