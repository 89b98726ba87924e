from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_privq.artifacts.confidences import read_dump, write_dump
from lit_privq.audit import main
from lit_privq.audit.folder import Folder

Study = Callable[..., Path]
QUICK = ["--attacks", "lira_online_fixed", "threshold", "--resamples", "20"]


def audit(folder: Path, output: Path, *options: str) -> None:
    main(["--input", str(folder), "--output", str(output), *options])


def rewrite(path: Path, **changes: Any) -> None:
    """Change a dump behind its maker's back."""
    dump = read_dump(path)
    copied = {
        f.name: np.array(v) for f in dataclasses.fields(dump) if isinstance(v := getattr(dump, f.name), np.ndarray)
    }
    changed = dataclasses.replace(dump, **{**copied, "meta": {**dump.meta, **changes.pop("meta", {})}, **changes})
    write_dump(path, changed)


def test_a_missing_shadow_is_named_with_the_command_that_mends_it(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "none-32" / "003.npz").unlink()
    with pytest.raises(ValueError, match=r"1 of 10 models .* \[3\]; run `python -m lit_privq predict .* 3 "):
        audit(folder, tmp_path)
    assert not (tmp_path / "results.csv").exists()


def test_the_command_that_mends_names_no_file_that_may_not_be_there(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "none-32" / "003.npz").unlink()
    with pytest.raises(ValueError, match=r"--config CONFIG .*, CONFIG being the study's own of its queries"):
        audit(folder, tmp_path)


def test_a_target_may_be_added_to_a_study_later_and_left_out_again(study: Study) -> None:
    folder = study({"none-32": 3.0})
    *earlier, last = sorted((folder / "none-32").glob("*.npz"))
    for path in earlier:
        rewrite(path, meta={"n_targets": len(earlier) - len(Folder(folder).shadows)})
    targets = Folder(folder).targets
    assert targets[-1] == int(last.stem)
    assert Folder(folder, n_targets=len(targets) - 1).targets == targets[:-1]
    last.unlink()
    assert Folder(folder).targets == targets[:-1]


def test_a_missing_quantized_shadow_is_not_taken_for_an_unaware_study(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "adaround-1.58-last8" / "002.npz").unlink()
    with pytest.raises(ValueError, match=r"\[2\].*checkpoints/adaround-1\.58-last8/"):
        audit(folder, tmp_path, *QUICK)
    assert not (tmp_path / "results.csv").exists()


def test_a_missing_target_is_named(study: Study, tmp_path: Path) -> None:
    folder = study()
    (folder / "nearest-2" / "009.npz").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 models .*nearest-2: \[9\]"):
        audit(folder, tmp_path, *QUICK)


def test_a_study_without_full_precision_is_refused(study: Study, tmp_path: Path) -> None:
    folder = study({"adaround-2": 1.0})
    with pytest.raises(FileNotFoundError, match=r"no folder .*none-32"):
        audit(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(60, np.int64)}, "must have the same labels"),
        (
            {"members": np.arange(60) < 30, "calibration": np.zeros(0, np.int64)},
            "members are the same in every recipe, and do not change",
        ),
        ({"meta": {"fingerprint": "other"}}, "must share fingerprint; .* has 'other', the others 'abc'"),
        ({"meta": {"dataset": "cifar10"}}, "must share dataset"),
        ({"meta": {"split_seed": 7}}, "must share split_seed"),
        ({"meta": {"index": 4}}, "009.npz says it is model 4"),
        ({"meta": {"method": "obc"}}, "009.npz says it is of obc-2; delete it and run"),
        ({"meta": {"recipe": "smooth"}}, "009.npz says it is of nearest-2@smooth; delete it and run"),
        ({"meta": {"net": "large"}}, "models of a recipe must have the same network; .* has large, the others small"),
    ],
)
def test_a_dump_of_another_study_is_named(study: Study, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = study()
    rewrite(folder / "nearest-2" / "009.npz", **changes)
    with pytest.raises(ValueError, match=message):
        audit(folder, tmp_path, *QUICK)


@pytest.mark.parametrize("inside", [False, True])
def test_a_target_that_trained_on_all_or_nothing_is_named_before_anything_is_written(
    study: Study, tmp_path: Path, inside: bool
) -> None:
    folder = study()
    for path in folder.glob("*/009.npz"):
        rewrite(path, members=np.full(60, inside), calibration=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=rf"none-32/009.npz has {60 * inside} members"):
        audit(folder, tmp_path / "out", *QUICK)
    assert not list((tmp_path / "out").iterdir())


def test_a_truncated_dump_is_named(study: Study, tmp_path: Path) -> None:
    path = study() / "none-32" / "005.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"005.npz is not a usable dump: .*truncated.*run predict"):
        audit(path.parent.parent, tmp_path, *QUICK)
