"""How much a study will write."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lit_privq.study.plan import Job, config_tree
from lit_privq.study.record import find
from lit_privq.study.study_file import Study

# Examples in pool and test set, by class; parameters by network. Rough on purpose: subsets are counted whole, networks
# that are not here are small.
_EXAMPLES = {"Digits": 1797, "FashionMNIST": 70_000, "CIFAR10": 60_000, "CIFAR100": 60_000, "TinyImageNet": 110_000}
_BESIDE = 9  # bytes of an example beside its confidences: a label and whether it is a member
_PARAMETERS = {"resnet18": 11_200_000, "resnet50": 23_700_000, "densenet121": 7_000_000}


def bytes_needed(study: Study, jobs: Sequence[Job]) -> int:
    """Bytes of all checkpoints and confidences of a study, about.

    Args:
        study: resolved.
        jobs: those that will run.
    """
    tree = config_tree(Path(study.shadow))
    dataset, net = (str(find(tree, key)) for key in ("dataset", "net"))
    examples = next((n for name, n in _EXAMPLES.items() if f".{name}'" in dataset), 0)
    parameters = next((n for name, n in _PARAMETERS.items() if f".{name}'" in net), 0)
    queries = find(config_tree(Path(study.query)), "n_queries") or 1
    files = [path for job in jobs for path in job.outputs]
    dumps = sum(path.startswith("confidence/") for path in files)
    trained = sum(path.startswith("checkpoints/") for path in files)
    return dumps * examples * (4 * queries + _BESIDE) + trained * parameters * 4


def storage_line(needed: int, root: Path) -> str:
    """What to say about it: nothing while it is little and there is room."""
    folder = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        return (
            f"about {_gigabytes(needed)} will be written, but only {_gigabytes(free)} are free at {folder}; make room"
        )
    return f"about {_gigabytes(needed)} will be written; {_gigabytes(free)} are free" if needed > 1e9 else ""


def _gigabytes(n: int) -> str:
    return f"{n / 1e9:.3g} GB"
