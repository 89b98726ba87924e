from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lit_privq.data import Digits, ShadowDataModule, reading
from lit_privq.data.pool import Pool
from lit_privq.data.reading import keep_last, read

READ: list[str] = []


@dataclass(frozen=True)
class Counted:
    """The digits, that note who reads them from where."""

    name: str = "a"

    def load(self, root: Path, download: bool) -> Pool:
        READ.append(f"{self.name} {root.name}")
        if root.name == "broken":
            raise FileNotFoundError("nothing there")
        return Digits().load(root, download)


@pytest.fixture(autouse=True)
def _nothing_read() -> Iterator[None]:
    READ.clear()
    reading._process.last = None
    worker, reading._process.worker = reading._process.worker, False
    yield
    reading._process.last, reading._process.worker = None, worker


def test_outside_a_worker_every_module_reads_its_data_as_they_are_now(tmp_path: Path) -> None:
    pools = [ShadowDataModule(Counted(), str(tmp_path)).pool for _ in range(2)]
    assert len(READ) == 2
    assert pools[0] is not pools[1]


def test_jobs_of_a_worker_read_the_same_data_once(tmp_path: Path) -> None:
    keep_last()
    pools = [ShadowDataModule(Counted(), str(tmp_path), model_index=str(index)).pool for index in range(3)]
    assert len(READ) == 1
    assert pools[0] is pools[2]


def test_another_data_set_or_folder_is_read_and_takes_the_place_of_the_last(tmp_path: Path) -> None:
    keep_last()
    for source, folder in ((Counted(), "x"), (Counted("b"), "x"), (Counted("b"), "y"), (Counted(), "x")):
        read(source, tmp_path / folder, False)
    assert READ == ["a x", "b x", "b y", "a x"]


def test_the_same_relative_folder_elsewhere_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_last()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        read(Counted(), Path("datasets"), False)
    assert len(READ) == 2


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    keep_last()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            read(Counted(), tmp_path / "broken", False)
    assert len(READ) == 2
