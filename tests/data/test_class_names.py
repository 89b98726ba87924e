from pathlib import Path
from types import SimpleNamespace

import pytest
import torchvision.datasets

from lit_privq.data import CIFAR10, Canaries, Digits, Downsampled, TinyImageNet
from lit_privq.data.class_names import class_names


def test_torchvisions_names_are_found_below_canaries_and_smaller_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reader = SimpleNamespace(classes=["airplane", "automobile"])
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda root, train: reader)
    assert class_names(Canaries(Downsampled(CIFAR10())), tmp_path) == ("airplane", "automobile")


def test_tinyimagenet_is_named_by_its_first_word_in_the_order_of_wnids(tmp_path: Path) -> None:
    top = tmp_path / "tiny-imagenet-200"
    top.mkdir()
    (top / "wnids.txt").write_text("n02\nn01\n")
    (top / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tEuropean fire salamander\nn03\tbullfrog\n")
    assert class_names(TinyImageNet(), tmp_path) == ("European fire salamander", "goldfish")


def test_classes_without_names_have_numbers(tmp_path: Path) -> None:
    assert class_names(Canaries(Digits()), tmp_path) == ()
