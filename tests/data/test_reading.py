from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lit_privq.data import Digits, ShadowDataModule, reading
from lit_privq.data.pool import Pool
from lit_privq.data.reading import read

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
    for known in (READ, reading._last):
        known.clear()
    yield
    reading._last.clear()


def test_modules_of_the_same_data_read_them_once(tmp_path: Path) -> None:
    pools = [ShadowDataModule(Counted(), str(tmp_path), model_index=str(index)).pool for index in range(3)]
    assert len(READ) == 1
    assert pools[0] is pools[2]


def test_another_data_set_or_folder_is_read_and_takes_the_place_of_the_last(tmp_path: Path) -> None:
    for source, folder in ((Counted(), "x"), (Counted("b"), "x"), (Counted("b"), "y"), (Counted(), "x")):
        read(source, tmp_path / folder, False)
    assert READ == ["a x", "b x", "b y", "a x"]
    assert len(reading._last) == 1


def test_the_same_relative_folder_elsewhere_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        read(Counted(), Path("datasets"), False)
    assert len(READ) == 2


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            read(Counted(), tmp_path / "broken", False)
    assert len(READ) == 2
