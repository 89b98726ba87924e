"""Pictures of the most exposed examples, taken from the data and kept beside the results of a study."""

from __future__ import annotations

import os
from pathlib import Path

import jsonargparse
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lit_privq.artifacts.confidences import Dump, read_dump
from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.pictures import Pictures, read_pictures, write_pictures
from lit_privq.data import Canaries, Pool, Source
from lit_privq.data.archives import unpacked_inside
from lit_privq.data.class_names import class_names
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections.exposure import exposure
from lit_privq.report.view import View

EACH = 6  # canaries, and others
LARGEST = 48  # pixels along a side


def keep(directory: Path, config: Path, root: Path | None = None) -> Path | None:
    """Write exposed.npz, the pictures of a study's most exposed examples.

    Args:
        directory: of the study; it holds results, scores and ``confidence``.
        config: of the study's trainings, or of its data.
        root: where data sets lie; None takes the config's, then the environment variable LIT_PRIVQ_DATA, then
            ``datasets``.

    Returns:
        Its path; None if the data are no images of classes, or no example can be called the most exposed.

    Raises:
        FileNotFoundError: if the study's confidences or the data are not there.
        ValueError: if the config names no data set, or another one.
    """
    view, inputs = read_inputs(directory)
    dumps = _shadows(directory, view)
    examples = _chosen(view, inputs, dumps[0])
    kept, path = read_pictures(directory), directory / "exposed.npz"
    fingerprint = str(dumps[0].meta["fingerprint"])
    if kept and kept.fingerprint == fingerprint and kept.examples.tolist() == examples:
        return path
    path.unlink(missing_ok=True)
    tree = config_tree(config)
    data = tree.get("data", tree)
    source = _source(config, data)
    place = Path(root or data.get("root") or os.environ.get("LIT_PRIVQ_DATA") or "datasets")
    found = pictured(examples, dumps, source, place) if examples else None
    if found is None:
        return None
    write_pictures(directory, found)
    return path


def pictured(examples: list[int], shadows: list[Dump], source: Source, root: Path) -> Pictures | None:
    """Pictures of some examples; None if the data are no images of classes.

    Args:
        examples: numbers in the pool.
        shadows: confidences of the full-precision shadow models.
        source: the data set that they trained on.
        root: where data sets lie.

    Raises:
        FileNotFoundError: if the data are not there.
        ValueError: if the shadows trained on other data.
    """
    with unpacked_inside():
        pool = source.load(root, download=False)
    if pool.fingerprint() != shadows[0].meta["fingerprint"]:
        raise ValueError(
            f"pictures must be of the pool that was audited; {pool.name} of {type(source).__name__} in {root} is "
            "another one, name the config of the study's own trainings"
        )
    if not pool.n_classes or pool.inputs.dtype != torch.uint8:
        return None
    inside, outside = _probabilities(shadows, examples)
    return Pictures(
        np.array(examples, dtype=np.int64),
        _small(pool, examples),
        pool.labels[examples].numpy(),
        _true_labels(source, pool, root)[examples],
        shadows[0].slices.get("canaries", np.zeros(len(pool.labels), bool))[examples],
        inside,
        outside,
        class_names(source, root),
        pool.fingerprint(),
    )


def _shadows(directory: Path, view: View) -> list[Dump]:
    """Confidences of the full-precision shadow models."""
    plain = view.results.full_precision
    folder = directory / "confidence" / (plain.name if plain else "none-32")
    dumps = [read_dump(path) for path in sorted(folder.glob("*.npz"))]
    shadows = [dump for dump in dumps if dump.meta["index"] < dump.meta["n_shadows"]]
    if not shadows:
        raise FileNotFoundError(f"pictures need the confidences that were audited, and {folder} holds none of a shadow")
    return shadows


def _chosen(view: View, inputs: Inputs, dump: Dump) -> list[int]:
    """The most exposed canaries and the most exposed others, or only these; most exposed first."""
    plain = view.results.full_precision
    if plain is None or plain not in inputs.scores or view.bound is None:
        return []
    found = exposure(inputs.scores, plain, view.bound, count=len(dump.labels))
    ordered = found.examples if found else ()
    canaries = dump.slices.get("canaries", np.zeros(len(dump.labels), bool))
    planted = [example for example in ordered if canaries[example]][:EACH]
    others = [example for example in ordered if not canaries[example]][: 2 * EACH - len(planted)]
    return [example for example in ordered if example in {*planted, *others}]


def _source(config: Path, data: dict[str, object]) -> Source:
    """The data set that a config names."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--dataset", type=Source)
    try:
        source: Source = parser.instantiate(parser.parse_object({"dataset": data["dataset"]})).dataset
    except (jsonargparse.ArgumentError, KeyError, TypeError) as error:
        raise ValueError(f"{config} must name a data set, as configs/data do; {' '.join(str(error).split())}") from None
    return source


def _true_labels(source: Source, pool: Pool, root: Path) -> NDArray[np.int64]:
    """The classes that the data set gives its examples, whatever canaries say, (examples,)."""
    if isinstance(source, Canaries) and source.kind == "label_noise":
        return np.asarray(source.source.load(root, download=False).labels)
    return np.asarray(pool.labels)


def _small(pool: Pool, examples: list[int]) -> NDArray[np.uint8]:
    """Images of no more than `LARGEST` pixels along a side, as a page shows them, (examples, channels, h, w)."""
    images = pool.inputs[examples]
    factor = -(-max(images.shape[2:]) // LARGEST)
    if factor > 1:
        images = functional.avg_pool2d(images.float(), factor).round().to(torch.uint8)
    return images.numpy()


def _probabilities(shadows: list[Dump], examples: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How sure models are of each label that trained on the example, and how sure others are, (examples,) each."""
    members = np.stack([dump.members[examples] for dump in shadows])  # (models, examples)
    odds = np.stack([dump.confidence[examples].mean(axis=1, dtype=np.float64) for dump in shadows])
    inside, outside = (np.where(mask, odds, 0).sum(axis=0) / mask.sum(axis=0) for mask in (members, ~members))
    return 1 / (1 + np.exp(-inside)), 1 / (1 + np.exp(-outside))
