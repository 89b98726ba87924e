from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_privq.artifacts.confidences import read_dump
from lit_privq.data.membership import calibration_indices, study_membership


def test_a_dump_says_what_the_audit_must_know(study: Path) -> None:
    members = study_membership(4, 2, 61, seed=0)
    for index in range(6):
        full = read_dump(study / f"confidence/none-32/{index:03d}.npz")
        quantized = read_dump(study / f"confidence/adaround-1.58/{index:03d}.npz")
        for dump in (full, quantized):
            assert np.array_equal(dump.members, members[index])
            assert dump.confidence.shape == (61, 3)
            assert dump.test_confidence.shape == (1797 - 61, 3)
            assert dump.meta["index"] == index
            split = {key: dump.meta[key] for key in ("n_shadows", "n_targets", "split_seed", "n_queries")}
            assert split == {"n_shadows": 4, "n_targets": 2, "split_seed": 0, "n_queries": 3}
        assert len(full.calibration) == 0
        assert np.array_equal(quantized.calibration, calibration_indices(members[index], 16, 0, index))
        assert (full.meta["method"], full.meta["bits"], full.meta["last_bits"]) == ("none", 32, 32)
        assert (quantized.meta["method"], quantized.meta["bits"]) == ("adaround", 1.58)
        assert full.meta["fingerprint"] == quantized.meta["fingerprint"]


def test_correct_answers_of_the_test_set_give_the_checkpoints_accuracy(study: Path) -> None:
    for index in range(6):
        checkpoint = torch.load(study / f"checkpoints/none-32/{index:03d}.ckpt", weights_only=True)
        correct = read_dump(study / f"confidence/none-32/{index:03d}.npz").test_correct
        assert correct.mean() == pytest.approx(checkpoint["lit_privq"]["accuracy"], abs=1e-3)  # a tie or two


def test_a_network_that_answers_nan_is_refused_by_model_and_example(
    privq: Callable[..., None], study: Path, tmp_path: Path
) -> None:
    checkpoint = torch.load(study / "checkpoints/none-32/002.ckpt", weights_only=True)
    checkpoint["state_dict"]["net.fc.weight"] *= 1e38  # finite, but no longer when it is added up
    torch.save(checkpoint, tmp_path / "x.ckpt")
    message = r"model 2 \(none-32\) answers NaN or infinity on \d+ of 61 examples, first on example \d+; .* make its"
    with pytest.raises(ValueError, match=message):
        privq("predict", "query/digits.yaml", tmp_path / "out", "--ckpt_path", str(tmp_path / "x.ckpt"))
    assert not list((tmp_path / "out").rglob("*"))


def test_only_a_query_can_be_dumped(privq: Callable[..., None], study: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"DumpLogits writes what lit_privq\.query\.Query answers; got Classifier"):
        privq("predict", "shadow/digits.yaml", tmp_path, "--trainer.callbacks", "callbacks.DumpLogits")
