from pathlib import Path

import numpy as np
import pytest

from lit_privq.indicator.runs import StoredRuns, read_runs


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", r=np.ones(3))
    with pytest.raises(ValueError, match="is no stored indicator"):
        read_runs(tmp_path / "other.npz", StoredRuns)
