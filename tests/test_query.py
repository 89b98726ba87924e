from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.artifacts.confidences import Dump, read_dump
from lit_privq.artifacts.construction import build
from lit_privq.data.digits import Digits

VARIANTS = ["none-32", "adaround-1.58"]


def dump(folder: Path, variant: str, model: int) -> Dump:
    return read_dump(folder / f"confidence/{variant}/{model:03d}.npz")


def seen(images: Tensor, down: int, right: int, mirrored: bool) -> Tensor:
    """Images as a query shows them: the window of the image with a black border, then mirrored, then normalised."""
    padded = functional.pad(images.float() / 255, [1] * 4)
    window = padded[:, :, 1 + down : 9 + down, 1 + right : 9 + right]
    return ((window.flip(-1) if mirrored else window) - 0.287) / 0.353


@pytest.mark.parametrize("variant", VARIANTS)
def test_confidences_are_those_of_a_plain_forward_pass_and_row_n_is_example_n(study: Path, variant: str) -> None:
    pool = Digits(pool_size=61).load(Path(), False)
    for model in range(6):
        checkpoint = read_checkpoint(study / f"checkpoints/{variant}/{model:03d}.ckpt")
        net = build(checkpoint["hyper_parameters"]["net"]).eval()
        net.load_state_dict({name.removeprefix("net."): value for name, value in checkpoint["state_dict"].items()})
        found = dump(study, variant, model)
        for query, view in enumerate([(0, 0, False), (0, 0, True), (-1, -1, False)]):
            for images, labels, confidence in (
                (pool.inputs, pool.labels, found.confidence),
                (pool.test_inputs, pool.test_labels, found.test_confidence),
            ):
                with torch.no_grad():
                    p = net(seen(images, *view)).double().softmax(-1)[torch.arange(len(labels)), labels].numpy()
                np.testing.assert_allclose(confidence[:, query], np.log(p / (1 - p)), rtol=1e-3, atol=1e-3)  # float32


def test_a_fleets_confidences_equal_those_of_its_models_alone(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    for model in (0, 4):
        path = str(study / f"checkpoints/none-32/{model:03d}.ckpt")
        privq("predict", "query/digits.yaml", tmp_path, f"--ckpt_path={path}")  # the index stands in the checkpoint
        alone, together = dump(tmp_path, "none-32", model), dump(study, "none-32", model)
        np.testing.assert_allclose(alone.confidence, together.confidence, rtol=1e-4, atol=1e-5)
        assert {**alone.meta} == {**together.meta}
        assert alone.logits is None
        assert together.logits is not None
        assert together.logits.shape == (61, 3, 10)


def test_stored_logits_and_confidences_agree(study: Path) -> None:
    for model in range(6):
        found = dump(study, "none-32", model)
        assert found.logits is not None
        logits = torch.from_numpy(found.logits.copy()).double()  # (examples, queries, classes)
        log_p = logits.log_softmax(-1).numpy()[np.arange(61), :, found.labels]
        np.testing.assert_allclose(found.confidence, log_p - np.log1p(-np.exp(log_p)), rtol=1e-3, atol=1e-4)


def test_the_command_line_may_query_otherwise_than_the_model_was_trained(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    path: Any = study / "checkpoints/none-32/001.ckpt"
    privq("predict", "query/digits.yaml", tmp_path, "--ckpt_path", str(path), "--data.n_queries", "1")
    assert dump(tmp_path, "none-32", 1).confidence.shape == (61, 1)
