"""Checkpoints on disk: where they lie, and how they are written and read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lit_privq.artifacts.atomic import atomic_write
from lit_privq.artifacts.codes import restore_weights
from lit_privq.artifacts.construction import build_trusted
from lit_privq.artifacts.diverged import place
from lit_privq.artifacts.state import load_state, without_prefix


def checkpoint_path(pattern: str, model: int) -> Path:
    """The checkpoint of one model, where ``{index}`` (or ``{index:03d}``) stands for its index.

    Raises:
        ValueError: if there are other braces in the pattern.

    >>> checkpoint_path("runs/none-32/{index:03d}.ckpt", 7).as_posix()
    'runs/none-32/007.ckpt'
    """
    try:
        return Path(pattern.format(index=model))
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"the only braces in a checkpoint's path are {{index}} or {{index:03d}}, for the model's; got {pattern}"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a `Classifier` with plain types only; weights that a quantized one has as codes are added.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or none of lit_privq's.
    """
    checkpoint = _read(path)
    if not isinstance(checkpoint, dict) or "lit_privq" not in checkpoint:
        raise ValueError(f"checkpoint {path} was not written by lit_privq; only its own say which examples are members")
    restore_weights(checkpoint)
    return checkpoint


def read_hyper_parameters(path: Path) -> dict[str, Any]:
    """What a checkpoint, of Lightning or ours, says its module was made from; plain types only, nothing is built.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    checkpoint = _read(path)
    return dict(checkpoint.get("hyper_parameters") or {}) if isinstance(checkpoint, dict) else {}


def check_resumable(path: Path, version: str) -> None:
    """Refuse what is not the state of a training that stopped.

    Args:
        path: a file that torch wrote.
        version: of the Lightning that would go on.

    Raises:
        ValueError: if it is a finished model, or of another major version of Lightning; the message says what to do.
    """
    checkpoint = _read(path)
    if not isinstance(checkpoint, dict) or not {"loops", "optimizer_states"} <= set(checkpoint):
        raise ValueError(
            f"--ckpt_path of a fit must be the state of a training that stopped; {path} holds a model and no such "
            "state: leave --ckpt_path out (a fit that is repeated goes on by itself), or quantize it with a config of "
            "configs/ptq and --model.checkpoint"
        )
    made = str(checkpoint.get("pytorch-lightning_version"))
    if made.partition(".")[0] != version.partition(".")[0]:
        raise ValueError(
            f"{path} was written by Lightning {made}, and version {version} cannot go on from it; install the former, "
            "or leave --ckpt_path out to train anew"
        )


def _read(path: Path) -> Any:  # noqa: ANN401  # whatever was saved
    """A file that torch wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}; train or quantize that model first, with fit")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and KeyError on damaged files
        raise ValueError(
            f"checkpoint {path} is damaged ({type(error).__name__}); delete it and make it again"
        ) from error
    if not is_intact(path):
        raise ValueError(f"checkpoint {path} is damaged (wrong checksum); delete it and make it again")
    return content


def is_intact(path: Path) -> bool:
    """Whether a file that torch wrote is still what it wrote.

    torch writes checksums of all parts and does not read them: after most changes of one byte
    it loads other tensors than were saved, without a word.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged directory: BadZipFile, UnicodeDecodeError, NotImplementedError, OSError
        return False


def network_of(checkpoint: Mapping[str, Any], path: Path, trust: Sequence[str] = ()) -> nn.Module:
    """The network in a checkpoint, in evaluation mode.

    Args:
        checkpoint: what `read_checkpoint` returned.
        path: where it was read, for messages.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks the checkpoint may name.

    Raises:
        ValueError: if the network is not trusted, or the weights do not fit it or are not finite.
    """
    net = build_trusted(checkpoint["hyper_parameters"]["net"], trust, path)
    try:
        load_state(net, without_prefix(checkpoint["state_dict"], "net"))
    except ValueError as error:
        raise ValueError(f"the weights in {path} belong to another network: {error}") from error
    if (tensor := not_finite(checkpoint)) is not None:
        raise ValueError(f"{path} holds NaN or infinity in {tensor}, its training diverged; make that model again")
    return net.eval()


def not_finite(checkpoint: Mapping[str, Any]) -> str | None:
    """Name of the first tensor of the network that holds NaN or infinity, None if there is none."""
    grids = {
        f"{name}.{part}": layer[part]
        for name, layer in checkpoint.get("quantization", {}).items()
        for part in ("scale", "zero", "values")
        if part in layer
    }
    tensors = {**without_prefix(checkpoint["state_dict"], "net"), **grids}
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def write_checkpoint(folder: Path, checkpoint: Mapping[str, Any], sound: bool = True) -> Path:
    """Write one checkpoint to ``folder/<variant>/<index>.ckpt``, whole or not at all; beside it if it diverged.

    The same content gives the same bytes: torch names the archive inside after a file's path, not after an open file.
    """
    made = checkpoint["lit_privq"]
    path = place(folder / made["variant"] / f"{made['index']:03d}.ckpt", sound)
    with atomic_write(path) as file:
        torch.save(dict(checkpoint), file)
    return path
