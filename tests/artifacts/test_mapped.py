from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lit_privq.artifacts.mapped import map_bytes, prefetch

MANY = """
import resource, sys
from pathlib import Path
import numpy as np
from lit_privq.artifacts.confidences import map_npz
path = Path(sys.argv[1])
np.savez(path, confidence=np.arange(6.0))
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
held = [map_npz(path)["confidence"] for _ in range(2000)]
print(sum(one.sum() for one in held))
"""


def test_a_file_is_mapped_as_it_is(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(256, size=10_000).astype(np.uint8)
    (tmp_path / "file").write_bytes(content.tobytes())
    np.testing.assert_array_equal(map_bytes(tmp_path / "file"), content)


def test_a_view_outlives_the_array_it_was_taken_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 5000)
    part = map_bytes(tmp_path / "file")[3:6]
    gc.collect()
    assert part.tobytes() == b"abc"
    with pytest.raises(ValueError, match="read-only"):
        part[0] = 1


def test_an_empty_file_has_no_bytes_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert map_bytes(tmp_path / "file").size == 0
    with pytest.raises(FileNotFoundError, match="nowhere"):
        map_bytes(tmp_path / "nowhere")


def test_two_thousand_dumps_stay_mapped_where_forty_files_may_be_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "one.npz")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == 2000 * 15


def test_what_will_be_read_soon_is_any_array_or_view(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 100)
    whole = map_bytes(tmp_path / "file")
    for array in (whole, whole[5000:9000], whole[:0], whole[::2], np.arange(3.0)):
        before = array.copy()
        prefetch(array)
        np.testing.assert_array_equal(array, before)
