"""The model card of an exported file: what the network was trained on and how, what it is good for, what it leaks."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_privq.artifacts.measures import TargetMean, read_measures
from lit_privq.artifacts.results import Key, read_results

NOT_AUDITED = "not audited"
"""What stands in place of the leakage where no audit of the checkpoint's study was found."""

_DATA = ("dataset", "batch_size", "padding", "mirror")
_TRAINING = ("optimizer", "scheduler", "label_smoothing", "dp_sgd")


def model_card(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a person who is handed the exported file should know of it; plain values only.

    Args:
        checkpoint: a quantized one, as `read_checkpoint` returns it.
        path: where it was read. As ``DIR/checkpoints/VARIANT/INDEX.ckpt`` of an audited study, the audit's accuracy and
            leakage are taken from results.csv and metrics.json in ``DIR``.

    Returns:
        By name: library, dataset, network, members, recipe, method, options, bits, accuracy and leakage. The accuracy
        in a checkpoint that was quantized after training is that of the network before, and is called so. Leakage is
        the mean over the study's targets at these bits, with its 95 % interval, by the audit's leading attack.
    """
    made, training = checkpoint["lit_privq"], checkpoint["hyper_parameters"]
    data = made.get("data", {})
    recipe = {name: data[name] for name in _DATA if name in data}
    recipe |= {name: training[name] for name in _TRAINING if training.get(name) is not None}
    recipe |= {name: checkpoint[name] for name in ("epoch", "global_step") if name in checkpoint}
    card = {
        "library": f"lit_privq {made.get('version', 'of an unknown version')}",
        "dataset": made.get("dataset"),
        "network": made.get("net"),
        "members": int(made["members"].sum()) if "members" in made else None,
        "recipe": recipe,
        "method": made.get("method"),
        "options": made.get("options"),
        "bits": made.get("bits"),
    }
    when = "_before_quantization" if "calibration" in made else ""
    card |= {f"{metric}{when}": made[metric] for metric in ("accuracy", "r2") if metric in made}
    known = {name: value for name, value in card.items() if value not in (None, {})}
    return known | _audited(path.absolute(), made)


def _audited(path: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit of the checkpoint's study found at its bits."""
    folder = path.parents[2] if len(path.parents) > 2 else path.parent
    in_study = path.parts[-3:-1] == ("checkpoints", made.get("variant"))
    if not in_study or not all((folder / name).is_file() for name in ("results.csv", "metrics.json")):
        return {"leakage": NOT_AUDITED}
    try:
        results = read_results(folder / "results.csv")
        measures = read_measures(folder / "metrics.json", results)
    except ValueError as error:
        return {"leakage": f"unknown: {error}"}
    variant = next((each for each in results.variants if each.name == made["variant"]), None)
    if variant is None or variant.name not in measures.focus.strongest:
        return {"leakage": NOT_AUDITED}
    focus = measures.focus
    found: dict[str, Any] = {"leakage": _told(focus.key(variant), measures.means.get(focus.key(variant)))}
    if focus.worst and (worst := measures.means.get(focus.worst_key(variant))):
        found["leakage_worst_case"] = _told(focus.worst_key(variant), worst)
    useful = results.values(variant, focus.utility) if focus.utility else {}
    if useful:
        found[focus.utility] = useful.get(made["index"], fmean(useful.values()))
    return found


def _told(key: Key, mean: TargetMean | None) -> Any:  # noqa: ANN401  # a tree of plain values
    """A mean over targets as plain values; what is not a number is left out."""
    if mean is None:
        return NOT_AUDITED
    numbers = {"value": mean.value, "low": mean.low, "high": mean.high, "random_guessing": mean.chance}
    who = {"metric": key.metric, "attack": key.attack, "attacker": key.attacker, "slice": key.slice}
    return who | {name: value for name, value in numbers.items() if isfinite(value)} | {"targets": mean.targets}
