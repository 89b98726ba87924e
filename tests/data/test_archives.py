from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from lit_privq.data.archives import unpacked_inside
from lit_privq.data.datamodule import ShadowDataModule
from lit_privq.data.digits import Digits
from lit_privq.data.pool import Pool


def archive(path: Path, name: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 5
        tar.addfile(member, io.BytesIO(b"evil!"))
    return path


@dataclass(frozen=True)
class Fetched:
    """A data set that unpacks what it fetched, without a filter of its own."""

    path: str

    def load(self, root: Path, download: bool) -> Pool:
        with tarfile.open(self.path) as tar:
            tar.extractall(root)
        return Digits().load(root, download)


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/lit_privq_outside.txt", "a/../../outside.txt"])
def test_an_archive_writes_nothing_outside_the_folder_of_the_data(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    path = archive(tmp_path / "set.tar.gz", name)
    data = ShadowDataModule(Fetched(str(path)), root=str(root), n_shadows=2, n_targets=1)
    before = sorted(tmp_path.rglob("*"))
    if name.startswith("/"):  # taken as relative to the folder
        assert len(data.pool.labels) > 0
        assert (root / name[1:]).is_file()
    else:
        with pytest.raises(tarfile.OutsideDestinationError):
            data.pool
        assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/lit_privq_outside.txt").exists()


def test_elsewhere_archives_are_unpacked_as_before() -> None:
    before = tarfile.TarFile.extraction_filter
    with unpacked_inside():
        assert tarfile.TarFile.extraction_filter is tarfile.data_filter
    assert tarfile.TarFile.extraction_filter is before
